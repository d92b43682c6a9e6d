"""`make bench`: Rowledger and its peers load the same rows into the same server, by data set and format.

Contestants take turns, several rounds, each load in processes of its own and measured from their start to their end. After
each the table is held against the rows. Quote the ratios: machines differ and are noisy. Exit code 1 if a table was wrong.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.contestants import CONTESTANTS
from benchmarks.contestants.task import FORMATS, SCHEMA, SOURCE_SCHEMA
from benchmarks.datasets import DATASETS, Dataset
from benchmarks.datasets.files import ensure_file, ensure_first_rows
from benchmarks.machine import describe_machine, versions
from benchmarks.race import run
from benchmarks.race.measure import Measured, measure
from benchmarks.race.report import Cell, Entrant, Race, Turn
from benchmarks.race.server import Server
from benchmarks.race.source import Source, differences, prepare
from benchmarks.race.tables import print_race, write_page
from rowledger.postgres.server_url import split_password, target_url
from rowledger.settings import child_environment, settings

_ROWS_PER_S_MIN = 3_000  # who is slower is taken to hang
_PATIENCE_S = 120


def main() -> None:
    """Run the rounds and print the tables; ends the process with its exit code."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # through all `finally`, as Ctrl-C does
    home = settings().home.absolute()
    chosen = entrants(options.data, options.format, options.only)
    landing = home / "bench"
    for dataset in dict.fromkeys(one.cell.dataset for one in chosen):
        dataset.ensure(landing, options.scale)
    result = hold_race(chosen, target_url(), landing, rounds=options.rounds, scale=options.scale)
    print_race(result, Console(width=132, highlight=False))
    figures = options.json or home / f"bench-{options.scale:g}.json"
    figures.parent.mkdir(parents=True, exist_ok=True)
    figures.write_text(json.dumps(result.as_json(), indent=1) + "\n", encoding="utf-8")
    chart = options.chart or home / f"bench-{options.scale:g}.svg"
    if any(one.ran for one in result.entrants):
        from benchmarks.race.chart import draw  # noqa: PLC0415 - matplotlib, needed for this alone

        draw(chart, result)
    if options.page and not result.failed:
        write_page(result, options.page)
    print(f"figures: {figures}; chart: {chart}")
    sys.exit(result.failed)


def entrants(datasets: Sequence[str], formats: Sequence[str], only: Sequence[str]) -> list[Entrant]:
    """Who races in what: without a choice of data sets in the formats that each has by default, otherwise in all formats."""
    cells = [
        Cell(dataset, name)
        for dataset in DATASETS
        for name in (FORMATS if datasets else dataset.formats)
        if dataset.name in (datasets or [dataset.name]) and name in (formats or FORMATS)
    ]
    return [
        Entrant(cell, one)
        for cell in cells
        for one in CONTESTANTS
        if cell.format in one.formats and one.name in (only or [one.name])
    ]


def hold_race(entered: Sequence[Entrant], url: str, landing: Path, *, rounds: int, scale: float) -> Race:
    """Let the contestants load the data sets that are in the landing folder, round by round, in each format in turn."""
    server = Server(url)
    notes = []
    if not server.may_checkpoint:
        notes.append("No checkpoint between the loads: the role may not make one.")
    if not server.is_local:
        notes.append("The server runs on another machine: its CPU seconds are not known.")
    for one in entered:
        one.skipped = one.contestant.missing()
    with ExitStack() as stack:
        scratch = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="rowledger-bench-", ignore_cleanup_errors=True))
        )
        stack.callback(server.leave_nothing)
        server.empty_schema(SOURCE_SCHEMA)
        copy_folder = _copy_folder(server, entered, landing, scratch)
        if copy_folder is not None:
            stack.callback(shutil.rmtree, copy_folder, ignore_errors=True)
        runners = [one for one in entered if not one.skipped]
        sources = dict(_sources(server, runners, landing, copy_folder))
        for number in range(rounds):
            for entrant in _in_turn(runners, number):
                if entrant.wrong:  # it has no figures any more
                    continue
                source = sources[entrant.cell.dataset, entrant.rows]
                entrant.turns.append(_take_turn(server, source, entrant, number, scratch))
                _report_progress(entrant, number, rounds)
    return Race(
        scale=scale,
        rounds=rounds,
        machine=describe_machine(),
        versions=versions(package for one in entered for package in one.contestant.packages),
        server={"version": server.version, "is_local": server.is_local, "settings": server.settings},
        notes=notes,
        entrants=entered,
    )


def _options() -> argparse.Namespace:
    def some_of(names: Sequence[str]) -> dict[str, Any]:
        def parse(text: str) -> list[str]:
            given = [name.strip() for name in text.split(",") if name.strip()]
            if unknown := [name for name in given if name not in names]:
                raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are {', '.join(names)}")
            return given

        return {"type": parse, "default": [], "help": f"some of {', '.join(names)}"}

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.race", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=0.25, help="1 is 6.0 million rows of lineitem and of trips")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", **some_of([one.name for one in DATASETS]))
    parser.add_argument("--format", **some_of(list(FORMATS)))
    parser.add_argument("--only", **some_of(list(dict.fromkeys(one.name for one in CONTESTANTS))))
    parser.add_argument("--json", type=Path, help="where all figures go; default: a file in ROWLEDGER_HOME")
    parser.add_argument("--chart", type=Path, help="where the chart goes, .svg or .png; default: beside the figures")
    parser.add_argument("--page", type=Path, help="a page of Markdown whose tables are to be written anew")
    options = parser.parse_args()
    if options.rounds < 1 or options.scale <= 0:
        parser.error("--rounds and --scale must be above 0")
    if not entrants(options.data, options.format, options.only):
        parser.error("none of the contestants loads these formats of these data sets")
    return options


def _copy_folder(server: Server, entered: Sequence[Entrant], landing: Path, scratch: Path) -> Path | None:
    """A folder of ready files that the server can read; None if nobody wants them, or, with its reason, if there is none."""
    wanting = [one for one in entered if one.contestant.needs_copy_files and not one.skipped]
    if not wanting:
        return None
    scratch.chmod(0o755)
    try:
        return server.readable_folder([landing / "copy", scratch / "copy"])
    except OSError as error:
        for one in wanting:
            one.skipped = f"the server cannot read files of this machine: {error}"
        return None


def _sources(
    server: Server, runners: Sequence[Entrant], landing: Path, copy_folder: Path | None
) -> Iterator[tuple[tuple[Dataset, int], Source]]:
    """The rows of each data set, and the first of them for slow contestants, in all formats that are wanted.

    Each entrant is told how many rows it loads.
    """
    for dataset in dict.fromkeys(one.cell.dataset for one in runners):
        of_dataset = [one for one in runners if one.cell.dataset == dataset]
        parquet = landing / dataset.table / f"{dataset.table}.parquet"
        rows = pq.read_metadata(parquet).num_rows
        for share in sorted({one.contestant.rows_share for one in of_dataset}):
            folder = parquet.parent if share == 1 else ensure_first_rows(parquet, max(1, round(rows * share)))
            wanting = [one for one in of_dataset if one.contestant.rows_share == share]
            source = prepare(
                server,
                dataset,
                folder,
                copy_folder=copy_folder if any(one.contestant.needs_copy_files for one in wanting) else None,
                is_queried=any(one.cell.format == "query" for one in wanting),
            )
            for one in wanting:
                one.rows = source.rows
                ensure_file(source.task(one.cell.format, ""))
            yield (dataset, source.rows), source


def _in_turn(runners: Sequence[Entrant], number: int) -> Iterator[Entrant]:
    """Format by format; rotated, so that no contestant always comes after the same neighbour."""
    for cell in dict.fromkeys(one.cell for one in runners):
        of_cell = [one for one in runners if one.cell == cell]
        turn = number % len(of_cell)
        yield from (*of_cell[turn:], *of_cell[:turn])


def _take_turn(server: Server, source: Source, entrant: Entrant, number: int, scratch: Path) -> Turn:
    """One load, on a server that has nothing else to do, and the look at what it left."""
    contestant = entrant.contestant
    # A target belongs to one spec, and specs differ in their source and their key.
    table = f"{source.dataset.table}_{entrant.cell.format}{'_keyed' if contestant.is_keyed else ''}"
    server.empty_schema()
    if not contestant.makes_table:
        server.create_table(SCHEMA, table, source.columns)
    server.checkpoint()
    folder = scratch / contestant.name
    folder.mkdir()
    task = replace(
        source.task(entrant.cell.format, table),
        scratch=folder,
        processes=contestant.processes,
        copy_files=source.copy_files if contestant.needs_copy_files else (),
    )
    cpu_s = server.cpu_s()
    measured = measure(
        run.command(contestant.entry, contestant.after, task),
        environment=child_environment(DATABASE_URL=server.url, **contestant.environment),
        log=scratch / f"{contestant.name}.log",
        deadline_s=_PATIENCE_S + source.rows / _ROWS_PER_S_MIN,
    )
    measured = replace(measured, output=_without_password(measured.output, server.url))
    server_cpu_s = None if cpu_s is None else (server.cpu_s() or cpu_s) - cpu_s
    shutil.rmtree(folder)
    return Turn(number, measured, server_cpu_s, _what_is_wrong(server, source, table, measured))


def _what_is_wrong(server: Server, source: Source, table: str, measured: Measured) -> str | None:
    if measured.exit_code != 0:
        ending = "killed at its deadline" if measured.exit_code is None else f"exit code {measured.exit_code}"
        return f"{ending}: {measured.output}"
    try:
        found = server.contents(SCHEMA, table, source.columns)
        sums = server.sums(SCHEMA, table, source.columns) if found != source.contents else source.sums
    except asyncpg.PostgresError as error:
        return str(error)
    return "; ".join(differences(source, found, sums)) or None


def _without_password(text: str, url: str) -> str:
    """What a contestant has printed, for figures that go anywhere: some quote the URL they cannot reach."""
    password = split_password(url)[1]
    for form in (password, quote(password or "", safe="")):
        text = text.replace(form, "***") if form else text
    return text


def _report_progress(entrant: Entrant, number: int, rounds: int) -> None:
    turn = entrant.turns[-1]
    what = f"WRONG: {turn.wrong}" if turn.wrong else f"{entrant.rows / turn.measured.wall_s / 1_000:,.0f} krows/s"
    print(
        f"round {number + 1} of {rounds}: {entrant.cell.dataset.name}, {FORMATS[entrant.cell.format]}: "
        f"{entrant.contestant.title}: {turn.measured.wall_s:.1f} s, {what}",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    main()
