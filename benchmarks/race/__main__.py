"""`make bench`: Rowledger, its ceiling, bare processes and its peers load the same file into the same server.

Contestants take turns, several rounds, each load in processes of its own and measured from their start to their end. After
each the table is held against the file. Quote the ratios: machines differ and are noisy. Exit code 1 if a table was wrong.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import asyncpg
from rich.console import Console

from benchmarks.contestants import CONTESTANTS, Contestant
from benchmarks.machine import describe_machine, versions
from benchmarks.race import run
from benchmarks.race.measure import measure
from benchmarks.race.report import Entrant, Race, Turn
from benchmarks.race.server import Server
from benchmarks.race.source import Source, differences, ensure_file, prepare
from benchmarks.tables import LINEITEM
from rowledger.contract.check import Contract
from rowledger.postgres.server_url import split_password, target_url
from rowledger.settings import child_environment, settings

_ROWS_PER_S_MIN = 3_000  # who is slower is taken to hang
_PATIENCE_S = 120


def main() -> None:
    """Run the rounds and print the table; ends the process with its exit code."""
    options = _options()
    home = settings().home.absolute()
    landing = home / "bench"
    ensure_file(landing, options.scale)
    only = options.only.split(",") if options.only else [one.name for one in CONTESTANTS]
    chosen = [one for one in CONTESTANTS if one.name in only]
    result = hold_race(chosen, target_url(), landing, rounds=options.rounds, scale=options.scale)
    result.print(Console(width=120, highlight=False))
    figures = options.json or home / f"bench-{options.scale:g}.json"
    figures.parent.mkdir(parents=True, exist_ok=True)
    figures.write_text(json.dumps(result.as_json(), indent=1) + "\n", encoding="utf-8")
    chart = options.chart or home / f"bench-{options.scale:g}.svg"
    if any(one.ran for one in result.entrants):
        from benchmarks.race.chart import draw  # noqa: PLC0415 - matplotlib, needed for this alone

        draw(chart, result)
    print(f"figures: {figures}; chart: {chart}")
    sys.exit(result.failed)


def hold_race(chosen: Sequence[Contestant], url: str, landing: Path, *, rounds: int, scale: float) -> Race:
    """Let the contestants load the file that is in the landing folder, round by round."""
    server = Server(url, Contract.of(LINEITEM.row).columns)
    entrants = [Entrant(one, skipped=_not_installed(one)) for one in chosen]
    notes = []
    if not server.may_checkpoint:
        notes.append("No checkpoint between the loads: the role may not make one.")
    if not server.is_local:
        notes.append("The server runs on another machine: its CPU seconds are not known.")
    with ExitStack() as stack:
        scratch = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="rowledger-bench-", ignore_cleanup_errors=True))
        )
        stack.callback(server.drop_schema)
        copy_folder = _copy_folder(server, entrants, landing, scratch)
        if copy_folder is not None:
            stack.callback(shutil.rmtree, copy_folder, ignore_errors=True)
        source = prepare(server, landing, copy_folder)
        runners = [one for one in entrants if not one.skipped]
        for number in range(rounds):
            # Rotated, so that nobody always comes after the same neighbour.
            turn = number % max(len(runners), 1)
            for entrant in (*runners[turn:], *runners[:turn]):
                if entrant.wrong:  # it has no figures any more
                    continue
                entrant.turns.append(_take_turn(server, source, entrant.contestant, number, scratch))
                _report_progress(entrant, number, rounds, source.rows)
    return Race(
        scale=scale,
        rows=source.rows,
        file_bytes=source.file_bytes,
        rounds=rounds,
        machine=describe_machine(),
        versions=versions(package for one in chosen for package in one.packages),
        server={"version": server.version, "is_local": server.is_local, "settings": server.settings},
        notes=notes,
        entrants=entrants,
    )


def _options() -> argparse.Namespace:
    names = [one.name for one in CONTESTANTS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.race", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="TPC-H scale factor; 1 is 6.0 million rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help=f"some of the contestants, separated by commas: {', '.join(names)}")
    parser.add_argument("--json", type=Path, help="where all figures go; default: a file in ROWLEDGER_HOME")
    parser.add_argument("--chart", type=Path, help="where the chart goes, .svg or .png; default: beside the figures")
    options = parser.parse_args()
    if options.rounds < 1 or options.scale <= 0:
        parser.error("--rounds and --scale must be above 0")
    if unknown := [name for name in options.only.split(",") if options.only and name not in names]:
        parser.error(f"--only: there is no {', '.join(unknown)}; there are {', '.join(names)}")
    return options


def _not_installed(contestant: Contestant) -> str | None:
    missing = contestant.missing_packages()
    return f"not installed: {', '.join(missing)}; pip install '.[bench]' brings it" if missing else None


def _copy_folder(server: Server, entrants: Sequence[Entrant], landing: Path, scratch: Path) -> Path | None:
    """A folder of ready files that the server can read; None if nobody wants them, or, with its reason, if there is none."""
    wanting = [one for one in entrants if one.contestant.needs_copy_files and not one.skipped]
    if not wanting:
        return None
    scratch.chmod(0o755)
    try:
        return server.readable_folder([landing / "copy", scratch / "copy"])
    except OSError as error:
        for one in wanting:
            one.skipped = f"the server cannot read files of this machine: {error}"
        return None


def _take_turn(server: Server, source: Source, contestant: Contestant, number: int, scratch: Path) -> Turn:
    """One load, on a server that has nothing else to do, and the look at what it left."""
    server.empty_schema()
    if not contestant.makes_table:
        server.create_table(contestant.table)
    server.checkpoint()
    folder = scratch / contestant.name
    folder.mkdir()
    command = run.command(
        contestant.entry,
        contestant.after,
        processes=contestant.processes,
        landing=source.landing,
        table=contestant.table,
        scratch=folder,
        copy_files=source.copy_files if contestant.needs_copy_files else (),
    )
    cpu_s = server.cpu_s()
    measured = measure(
        command,
        environment=child_environment(DATABASE_URL=server.url, **contestant.environment),
        log=scratch / f"{contestant.name}.log",
        deadline_s=_PATIENCE_S + source.rows / _ROWS_PER_S_MIN,
    )
    measured = replace(measured, output=_without_password(measured.output, server.url))
    server_cpu_s = None if cpu_s is None else (server.cpu_s() or cpu_s) - cpu_s
    shutil.rmtree(folder)
    wrong = None
    if measured.exit_code != 0:
        ending = "killed at its deadline" if measured.exit_code is None else f"exit code {measured.exit_code}"
        wrong = f"{ending}: {measured.output}"
    else:
        try:
            found = server.contents(contestant.table)
            sums = server.sums(contestant.table) if found != source.contents else source.sums
            wrong = "; ".join(differences(source, found, sums)) or None
        except asyncpg.PostgresError as error:
            wrong = str(error)
    return Turn(number, measured, server_cpu_s, wrong)


def _without_password(text: str, url: str) -> str:
    """What a contestant has printed, for figures that go anywhere: some quote the URL they cannot reach."""
    password = split_password(url)[1]
    for form in (password, quote(password or "", safe="")):
        text = text.replace(form, "***") if form else text
    return text


def _report_progress(entrant: Entrant, number: int, rounds: int, rows: int) -> None:
    turn = entrant.turns[-1]
    what = f"WRONG: {turn.wrong}" if turn.wrong else f"{rows / turn.measured.wall_s / 1_000:,.0f} krows/s"
    print(
        f"round {number + 1} of {rounds}: {entrant.contestant.title}: {turn.measured.wall_s:.1f} s, {what}",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    main()
