"""What a run costs before its first row, and what one small partition more costs."""

import shutil
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from benchmarks.scale.bench import Bench, Measured, as_json, seconds
from benchmarks.scale.dagster_runs import Materialized, fresh_instance
from benchmarks.scale.run import Job
from benchmarks.verdict import Answer, at_most
from pipeline.nycflights import land_flights

_FIRST_DAY = date(2013, 1, 1)
_FEW = 10  # one in ten of the days
_TARGET_MS = 40.0


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return bench.repeats * 4 + bench.rounds * (6 + bench.days / 25) + 3 * bench.rounds * 6


def ask(bench: Bench) -> Answer:
    """Runs of nothing, of a row, of a day; then few days against all of them, in interleaved rounds."""
    landing = bench.folder / "flights"
    days = [_FIRST_DAY + timedelta(days=n) for n in range(bench.days)]
    rows = land_flights(days, landing / "flights")
    small = _small(bench, landing)
    by_dagster = _by_dagster(bench)
    few, many = days[: max(1, len(days) // _FEW)], days
    runs: dict[int, list[Measured]] = {len(few): [], len(many): []}
    for round_no in range(bench.rounds):
        for some in (few, many):
            keys = tuple(str(day) for day in some)
            total = sum(rows[key] for key in keys)
            runs[len(some)].append(bench.measure(Job(spec="DAYS", keys=keys, landing=landing), total))
            bench.say(f"{len(some)} partitions, round {round_no + 1}: {runs[len(some)][-1].run_s:.2f} s")
    shutil.rmtree(landing, ignore_errors=True)
    more_ms = _further_ms(runs)
    return Answer(
        title="fixed: runs of next to nothing, each in a fresh process (medians)",
        columns=("run", "seconds", "of them the process's start", "client CPU s", "server CPU s"),
        rows=[
            *(_core_row(name, found) for name, found in small.items()),
            *(_core_row(f"core, {count} days", found) for count, found in runs.items()),
            *(_dagster_row(name, found) for name, found in by_dagster.items()),
        ],
        figures={
            "core": {name: [as_json(one) for one in found] for name, found in small.items()},
            "partitions": {str(count): [as_json(one) for one in found] for count, found in runs.items()},
            "dagster": {name: [asdict(one) for one in found] for name, found in by_dagster.items()},
            "one_partition_more_ms": more_ms,
        },
        targets=[at_most(f"one small partition more ({len(few)} against {len(many)})", more_ms, _TARGET_MS, "ms")],
        notes=[
            *_cpu_notes(runs),
            *([] if by_dagster else ["through Dagster: skipped, this role may not create a database"]),
        ],
    )


def _small(bench: Bench, landing: Path) -> dict[str, list[Measured]]:
    """A partition of no row, of one row and of a day, each as often as the others."""
    key = str(_FIRST_DAY)
    day = pl.read_parquet(landing / "flights" / f"{key}.parquet")
    cases = {"core, no row": day.clear(), "core, one row": day.head(1), "core, one day": day}
    runs: dict[str, list[Measured]] = {name: [] for name in cases}
    for name, frame in cases.items():
        folder = bench.folder / name.replace(" ", "_")
        (folder / "flights").mkdir(parents=True, exist_ok=True)
        frame.write_parquet(folder / "flights" / f"{key}.parquet")
    for _ in range(bench.repeats):
        for name, frame in cases.items():
            job = Job(spec="DAYS", keys=(key,), landing=bench.folder / name.replace(" ", "_"))
            runs[name].append(bench.measure(job, frame.height))
    for name in cases:
        shutil.rmtree(bench.folder / name.replace(" ", "_"))
    return runs


def _by_dagster(bench: Bench) -> dict[str, list[Materialized]]:
    """The landing alone, which hardly does a thing, against the load of the same day."""
    with fresh_instance(bench) as instance:
        if instance is None:
            return {}
        day = ("--partition", str(_FIRST_DAY))
        runs: dict[str, list[Materialized]] = {"Dagster, landing of a day": [], "Dagster, load of a day": []}
        for round_no in range(bench.rounds):
            for found, asset in zip(runs.values(), ("flights_landing", "flights"), strict=True):
                found.append(instance.materialize([asset], *day))
                bench.say(f"Dagster, {asset}, round {round_no + 1}: {found[-1].process_s:.1f} s")
    return runs


def _further_ms(runs: dict[int, list[Measured]]) -> float | None:
    if len(runs) == 1:
        return None
    (few, some), (many, all_of_them) = runs.items()
    further = [(b.run_s - a.run_s) / (many - few) * 1000 for a, b in zip(some, all_of_them, strict=True)]
    return statistics.median(further)


def _cpu_notes(runs: dict[int, list[Measured]]) -> list[str]:
    """What a partition more costs in CPU: on a machine that is busy with something else the steadier figure."""
    if len(runs) == 1:
        return []
    (few, some), (many, all_of_them) = runs.items()
    client_ms, server_ms = (
        statistics.median((cpu_s(b) - cpu_s(a)) / (many - few) * 1000 for a, b in zip(some, all_of_them, strict=True))
        for cpu_s in (lambda one: one.client_cpu_s, lambda one: one.server_cpu_s or 0)
    )
    return [
        f"of CPU, one small partition more costs {client_ms:.0f} ms of the client and {server_ms:.0f} ms of the server"
    ]


def _core_row(name: str, found: Sequence[Measured]) -> tuple[str, ...]:
    server_s = [one.server_cpu_s for one in found if one.server_cpu_s is not None]
    return (
        name,
        seconds(statistics.median(one.process_s for one in found)),
        seconds(statistics.median(one.process_s - one.run_s for one in found)),
        seconds(statistics.median(one.client_cpu_s for one in found)),
        seconds(statistics.median(server_s) if server_s else None),
    )


def _dagster_row(name: str, found: Sequence[Materialized]) -> tuple[str, ...]:
    return (
        name,
        seconds(statistics.median(one.process_s for one in found)),
        seconds(statistics.median(one.phases_s["Dagster's start"] for one in found)),
        "-",
        "-",
    )
