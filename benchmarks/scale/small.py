"""What a thousand rows cost through the Python API, from the process's start to its end."""

import statistics
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from benchmarks.race.measure import Measured, measure
from benchmarks.scale import server
from benchmarks.scale.bench import Bench, WrongCount, mib, seconds
from benchmarks.verdict import Answer, at_most
from rowledger.settings import child_environment

_ROWS = 1_000
_CPU_S_MAX = _WALL_S_MAX = 0.8
_SCRIPT = "from benchmarks.scale.thousand import {0}; from rowledger import load; load({0}, landing_dir={1!r})"
_SPECS = {"Parquet": "FROM_PARQUET", "CSV": "FROM_CSV"}
_PATIENCE_S = 120.0


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return bench.repeats * len(_SPECS) * 1.5


def ask(bench: Bench) -> Answer:
    """A script that loads a thousand rows, from Parquet and from CSV, in turns."""
    folder = bench.fresh_folder("small")
    folder.mkdir()
    frame = pl.select(
        sale_id=pl.int_range(_ROWS, dtype=pl.Int64),
        sold_at=pl.lit(datetime(2024, 1, 1, tzinfo=UTC)) + pl.duration(seconds=pl.int_range(_ROWS)),
        amount=pl.int_range(_ROWS) / 8,
        shop=pl.lit("north"),
    )
    frame.write_parquet(folder / "sales.parquet")
    frame.write_csv(folder / "sales.csv", datetime_format="%Y-%m-%dT%H:%M:%S+00:00")
    runs: dict[str, list[Measured]] = {name: [] for name in _SPECS}
    for _ in range(bench.repeats):
        for name, spec in _SPECS.items():
            runs[name].append(_load(bench, spec, folder))
    cpu_s = {name: statistics.median(one.cpu_s for one in found) for name, found in runs.items()}
    wall_s = {name: statistics.median(one.wall_s for one in found) for name, found in runs.items()}
    return Answer(
        title=f"small: {_ROWS:,} rows by a script, from its process's start to its end (medians)",
        columns=("source", "seconds", "fastest", "client CPU s", "supervisor MiB", "worker MiB"),
        rows=[
            (
                name,
                seconds(wall_s[name]),
                seconds(min(one.wall_s for one in found)),
                seconds(cpu_s[name]),
                mib(max(one.rss_first_bytes for one in found)),
                mib(max(one.rss_child_bytes for one in found)),
            )
            for name, found in runs.items()
        ],
        figures={name: [asdict(one) for one in found] for name, found in runs.items()},
        targets=[
            target
            for name in _SPECS
            for target in (
                at_most(f"{_ROWS:,} rows of {name}, client CPU", cpu_s[name], _CPU_S_MAX, "s"),
                at_most(f"{_ROWS:,} rows of {name}", wall_s[name], _WALL_S_MAX, "s"),
            )
        ],
    )


def _load(bench: Bench, spec: str, folder: Path) -> Measured:
    server.clear(bench.url)
    measured = measure(
        [sys.executable, "-c", _SCRIPT.format(spec, str(folder))],
        environment=child_environment(ROWLEDGER_DATABASE_URL=bench.url),
        log=bench.folder / "small.log",
        deadline_s=_PATIENCE_S,
    )
    if measured.exit_code != 0:
        raise SystemExit(f"error: a load ended with exit code {measured.exit_code}: {measured.output}")
    found = server.fetch_value(bench.url, f"select count(*) from {server.SCHEMA}.sales")  # noqa: S608 - our own name
    if found != _ROWS:
        raise WrongCount(f"error: {found} rows in the table, {_ROWS} in the source")
    return measured
