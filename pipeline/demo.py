"""`make demo`: the load job on real data, then with damaged rows and a kill. Exit code 0 only if every row is found.

`dagster asset materialize` loads January in one run, as CI would. Then one more day is landed with damaged rows, and
loaded while a worker is killed in the middle of its COPY. At last the dead letters are edited and replayed.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import click
import polars as pl
from rich.console import Console

from pipeline.nycflights import land_flights
from rowledger import RowledgerError, landing_folder

__all__ = ["main"]

JANUARY = "2013-01-01...2013-01-31"
JANUARY_ROWS = 27_004
DAMAGED_DAY = date(2013, 2, 1)
WRONG_TYPE, NUL_BYTE, OUT_OF_BOUNDS, MISSING, REPEATED = 10, 20, 30, 40, 50  # row numbers
DAMAGED_ROWS = 5
KILL = f"mid_copy=sigkill@partition={DAMAGED_DAY},attempt=1"

# 2026-01-31 12:00:00 +0000 - dagster - INFO - job - run id - flights - text
_LOG_LINE = re.compile(r"^[\d :+-]+ - dagster - (INFO|WARNING|ERROR) - \S+ - \S+ - \S+ - (?P<text>.*)$")

ROWLEDGER = (sys.executable, "-m", "rowledger")

console = Console()


class DemoFailed(RowledgerError):
    """The demo did not find what it should."""


def main() -> None:
    """Run the demo; ends the process with its exit code."""
    try:
        _load_january()
        _load_damaged_day()
        _correct_damaged_day()
    except RowledgerError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    console.print(
        "\nNext: [bold]make ui[/] opens Dagster on the same data, "
        f"[bold]{_typed('rowledger')} status[/] prints the balance, [bold]make stop[/] stops the database."
    )


def _load_january() -> None:
    console.rule("January 2013: 31 partitions in one run")
    _materialize("flights_landing,flights", "--partition-range", JANUARY)
    _rowledger("status", "--table", "flights")
    totals = _told("status", "--table", "flights", *_partitions_of_january())["totals"]
    in_table = _count_rows("month = 1")
    console.print(f"counted in the table itself: [bold]{in_table:,}[/] flights of January")
    accounted = totals["written_rows"] + totals["dead_lettered_rows"]
    if not totals["enqueued_rows"] == accounted == JANUARY_ROWS or in_table != totals["written_rows"]:
        raise DemoFailed(
            f"January has {JANUARY_ROWS} flights: {totals['enqueued_rows']} enqueued, {in_table} in the table"
        )


def _load_damaged_day() -> None:
    console.rule(f"{DAMAGED_DAY}: {DAMAGED_ROWS} damaged rows, and one worker killed in the middle of its COPY")
    rows = _land_damaged_day(DAMAGED_DAY)
    _materialize("flights", "--partition", str(DAMAGED_DAY), failpoints=KILL)
    of_day = ("--table", "flights", "--partition", str(DAMAGED_DAY))
    for command in ("status", "dead-letters list", "incidents"):
        _rowledger(*command.split(), *of_day)
    totals = _told("status", *of_day)["totals"]
    letters, incidents = _told("dead-letters", "list", *of_day), _told("incidents", *of_day)
    if not totals["enqueued_rows"] == rows == totals["written_rows"] + totals["dead_lettered_rows"]:
        raise DemoFailed(f"{rows} rows landed; the ledger has of them: {totals}")
    if len(letters) != DAMAGED_ROWS or not incidents:
        raise DemoFailed(f"{len(letters)} dead letters of {DAMAGED_ROWS} damaged rows, {len(incidents)} incidents")
    console.print(f"worker {incidents[0]['pid']} was killed in the middle of its COPY; no row was lost or doubled")


def _correct_damaged_day() -> None:
    console.rule(f"{DAMAGED_DAY}: correct the rows and replay them")
    of_day = ("--table", "flights", "--partition", str(DAMAGED_DAY))
    file = landing_folder("flights").parents[1] / "demo-letters.ndjson"
    file.unlink(missing_ok=True)
    _rowledger("dead-letters", "export", *of_day, "--output", _shown(file))
    _correct(file)
    click.echo("(the demo now corrects 4 of the 5 rows in this file, as you would in an editor)")
    _rowledger("dead-letters", "import", "--table", "flights", "--note", "corrected by hand", _shown(file))
    _rowledger("dead-letters", "replay", *of_day, "--state", "corrected")
    _rowledger("status", *of_day)
    totals = _told("status", *of_day)["totals"]
    if (totals["missing_rows"], totals["dead_lettered_rows"]) != (0, 1):
        raise DemoFailed(f"1 of {DAMAGED_ROWS} dead letters should be left; the ledger has: {totals}")
    if _rowledger("verify", *of_day) != 0:
        raise DemoFailed("the day is not in the table as the ledger has it")
    console.print("4 rows are now in the table, each once; the row that repeats a key is still a dead letter")


def _correct(file: Path) -> None:
    """Give each row the value that it should have had. The row that repeats a key stays as it is."""
    corrected = {
        WRONG_TYPE: {"dep_delay": "-2"},
        NUL_BYTE: {"tailnum": "N123"},
        OUT_OF_BOUNDS: {"distance": 5},
        MISSING: {"carrier": "UA"},
    }
    letters = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for letter in letters:
        letter["payload"] |= corrected.get(letter["source_row"], {})
    file.write_text("".join(f"{json.dumps(letter)}\n" for letter in letters), encoding="utf-8")


def _typed(program: str) -> str:
    """How this shell finds a program of this environment: by its name alone, or else by its path."""
    path = Path(sys.executable).parent / program
    found = shutil.which(program)
    return program if found is not None and Path(found) == path else shlex.quote(_shown(path))


def _rowledger(*arguments: str) -> int:
    """Run a `rowledger` command on this terminal and return its exit code."""
    click.echo(f"$ {_typed('rowledger')} {shlex.join(arguments)}")
    return subprocess.run([*ROWLEDGER, *arguments], check=False).returncode  # noqa: S603 - the project's own command


def _told(*arguments: str) -> Any:  # noqa: ANN401 - any JSON
    """The JSON that a `rowledger` command prints."""
    return json.loads(_output(*arguments, "--json"))


def _count_rows(condition: str) -> int:
    """The rows of flights that satisfy the condition, counted in the table itself."""
    statement = f"select count(*) from flights where {condition}"  # noqa: S608 - conditions are written in this file
    return int(_output("db", "psql", "--", "--tuples-only", "--no-align", "--command", statement))


def _output(*arguments: str) -> str:
    done = subprocess.run([*ROWLEDGER, *arguments], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode != 0:
        raise DemoFailed(f"rowledger {shlex.join(arguments)} ended with exit code {done.returncode}")
    return done.stdout


def _partitions_of_january() -> list[str]:
    return [word for day in range(1, 32) for word in ("--partition", f"2013-01-{day:02}")]


def _land_damaged_day(day: date) -> int:
    """Land a day with a wrong type, a NUL byte, a value out of bounds, a missing value and a repeated key; returns its rows."""
    folder = landing_folder("flights")
    land_flights([day], folder)
    path = folder / f"{day}.parquet"
    whole = pl.read_parquet(path)
    row = pl.int_range(pl.len())
    damaged = whole.with_columns(
        dep_delay=pl.when(row == WRONG_TYPE).then(pl.lit("late")).otherwise(pl.col("dep_delay").cast(pl.String)),
        tailnum=pl.when(row == NUL_BYTE).then(pl.lit("N\x00123")).otherwise(pl.col("tailnum")),
        distance=pl.when(row == OUT_OF_BOUNDS).then(pl.lit(-5)).otherwise(pl.col("distance")),
        carrier=pl.when(row == MISSING).then(None).otherwise(pl.col("carrier")),
    )
    repeated = pl.concat([damaged, damaged[REPEATED : REPEATED + 1]])
    repeated.write_parquet(path)
    return repeated.height


def _materialize(selection: str, *partition: str, failpoints: str = "") -> None:
    """Run `dagster asset materialize` as CI would. Its log goes to a file, Rowledger's lines about rows to the terminal."""
    log = landing_folder("flights").parents[1] / "demo.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["-m", "dagster", "asset", "materialize", "-m", "pipeline.definitions", "--select", selection, *partition]
    given = f"ROWLEDGER_FAILPOINTS={shlex.quote(failpoints)} " if failpoints else ""
    click.echo(f"$ {given}{_typed('dagster')} {shlex.join(command[2:])}")
    environment = {**os.environ, "ROWLEDGER_FAILPOINTS": failpoints, "PYTHONUNBUFFERED": "1"}
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, with fixed arguments
            [sys.executable, *command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None  # noqa: S101 - opened as a pipe just above
        for line in process.stdout:
            file.write(line)
            if said := _said(line):
                click.echo(f"  {said}")
    if process.wait() != 0:
        raise DemoFailed(f"dagster ended with exit code {process.returncode}; its log: {_shown(log)}")


def _said(line: str) -> str | None:
    """The text of a line that Rowledger wrote to Dagster's log; None for Dagster's own lines."""
    match = _LOG_LINE.match(line.rstrip())
    return match["text"] if match else None


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    main()
