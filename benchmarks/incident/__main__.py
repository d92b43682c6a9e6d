"""`make incident`: the design that lost 198 rows, and Rowledger, on the same rows under the same cut connections.

Both load the same file of TPC-H lineitem with twelve writers into the same embedded server, through a proxy that cuts
connections at moments drawn from the seed. Exit code 0 only if the cuts were made and Rowledger has lost, doubled or changed
no row; what the other design loses is shown, whatever it is.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.incident.audit import read_source
from benchmarks.incident.contest import BASELINE, ROWLEDGER, WRITERS, Source, Turn, drop_database, take_turn
from benchmarks.incident.cuts import Cut, plan_cuts
from benchmarks.incident.source import copy_bytes, ensure_lineitem
from rowledger.postgres.server_url import embedded_server
from rowledger.settings import settings

ROWS_OF_THE_INCIDENT = 15_193_596
ROWS_MIN = 100_000  # fewer are through before twelve writers are up
PICTURE = Path("docs/incident.svg")

console = Console(width=120, highlight=False)


def main() -> None:
    """Run both and print the table; ends the process with its exit code."""
    options = _options()
    home = settings().home.absolute()
    source = _source(home / f"lineitem-{options.rows}", options.rows)
    bytes_total = copy_bytes(source.file)
    plan = plan_cuts(options.seed, options.cuts, bytes_total)
    url = embedded_server().ensure_running()
    console.print(f"{BASELINE.name}: loading {source.rows:,} rows, then counting them …")
    baseline = take_turn(BASELINE, url, source, plan)
    drop_database(url, BASELINE)  # neither its size nor its autovacuum is to burden the next one
    console.print(f"{ROWLEDGER.name}: the same …")
    rowledger = take_turn(ROWLEDGER, url, source, plan)
    turns = (baseline, rowledger)
    title = f"{source.rows:,} rows, {WRITERS} writers, connections cut: {len(plan)}, seed {options.seed}"
    _print(turns, title)
    _write_results(home / f"incident-{options.rows}-{options.seed}.json", options.seed, plan, turns)
    if picture := options.picture or (PICTURE if options.rows == ROWS_OF_THE_INCIDENT else None):
        from benchmarks.incident.picture import draw  # noqa: PLC0415 - matplotlib, needed for this alone

        draw(picture, source, turns, plan, bytes_total, title)
        console.print(f"picture: {picture}")
    judge(baseline, rowledger, plan)
    drop_database(url, ROWLEDGER)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.incident", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=ROWS_OF_THE_INCIDENT, help=f"rows of the source, from {ROWS_MIN:,}")
    parser.add_argument("--seed", type=int, default=198, help="what the moments and kinds of the cuts are drawn from")
    parser.add_argument("--cuts", type=int, default=3, help=f"connections to cut, up to {WRITERS - 1}; 0: none")
    parser.add_argument("--picture", type=Path, help=f"where to draw the picture; a run of full size draws {PICTURE}")
    options = parser.parse_args()
    if options.rows < ROWS_MIN:
        parser.error(f"--rows {options.rows}: at least {ROWS_MIN} are needed")
    if not 0 <= options.cuts < WRITERS:
        parser.error(
            f"--cuts {options.cuts}: 0 to {WRITERS - 1}, or nobody would be left to empty the baseline's queue"
        )
    return options


def _source(landing: Path, rows: int) -> Source:
    console.print(f"making {rows:,} rows of lineitem, unless they are there …")
    file = ensure_lineitem(landing, rows)
    return Source(landing, file, read_source(file))


def _print(turns: Sequence[Turn], title: str) -> None:
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("design", "source", "in the table", "lost", "doubled", "exit code", "seconds"):
        shown.add_column(name, justify="left" if name == "design" else "right")
    shown.add_column("what it says")
    for turn in turns:
        found = turn.audit
        shown.add_row(
            turn.name,
            *(f"{figure:,}" for figure in (found.rows_in_source, found.rows_in_table, found.lost, found.doubled)),
            "hung" if turn.exit_code is None else str(turn.exit_code),
            f"{turn.seconds:.0f}",
            turn.noticed,
        )
    console.print(shown)


def _write_results(path: Path, seed: int, plan: Sequence[Cut], turns: Sequence[Turn]) -> None:
    results = {"seed": seed, "plan": [asdict(cut) for cut in plan], "turns": [asdict(turn) for turn in turns]}
    path.write_text(json.dumps(results, indent=1), encoding="utf-8")
    console.print(f"results, with all that each run has printed: {path}")


def judge(baseline: Turn, rowledger: Turn, plan: Sequence[Cut]) -> None:
    """End with an error unless the faults were real and Rowledger came through; raises SystemExit."""
    for turn in (baseline, rowledger):
        if len(turn.cuts) != len(plan):
            raise SystemExit(f"error: {turn.name} met {len(turn.cuts)} of {len(plan)} cuts, so this run proves nothing")
    if rowledger.exit_code != 0 or not rowledger.audit.exact:
        raise SystemExit(
            f"error: Rowledger: {rowledger.ending}, {rowledger.audit.lost} rows lost, "
            f"{rowledger.audit.doubled} doubled, {rowledger.audit.altered_ranges} row groups altered; "
            f"its database is kept: {ROWLEDGER.database}"
        )
    if plan and baseline.exit_code == 0 and baseline.audit.exact:
        console.print(f"{baseline.name}: this seed has cost it nothing; try another one.")
    elif baseline.audit.lost:
        console.print(
            f"{baseline.name}: {baseline.audit.lost:,} rows lost, {baseline.ending}; {rowledger.name}: none lost."
        )


if __name__ == "__main__":
    main()
