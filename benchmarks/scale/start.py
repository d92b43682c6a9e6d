"""How long a worker takes from its process's start to the first byte of its first COPY."""

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from benchmarks.scale import marks
from benchmarks.scale.bench import Bench, seconds
from benchmarks.scale.run import Job
from benchmarks.verdict import Answer, at_most
from pipeline.nycflights import land_flights
from rowledger.settings import child_environment

_DAY = date(2013, 1, 1)
_FULL_CHUNK_SCALE = 0.03  # a file of little more than one full chunk
_TARGET_S = 0.4
_MOMENTS = ("spec imported", "connected", "COPY asked for", "first byte of COPY")
_IMPORT = "import time; began = time.perf_counter(); import {0}; print(time.perf_counter() - began)"


@dataclass(frozen=True, slots=True)
class Stages:
    """At each of the moments: seconds since the supervisor's call, and the worker's own CPU seconds."""

    since_spawn_s: list[float]
    cpu_s: list[float]


def expected_s(bench: Bench) -> float:
    """About how long it takes."""
    return bench.repeats * 8.0


def ask(bench: Bench) -> Answer:
    """One worker on a day's flights and on a full chunk of lineitem, interleaved; both marked by the processes themselves."""
    day = bench.folder / "start"
    rows = land_flights([_DAY], day / "flights")[str(_DAY)]
    landing, full_rows = bench.lineitem(_FULL_CHUNK_SCALE)
    jobs = {
        f"a day of {rows:,} flights": (Job(spec="DAYS", keys=(str(_DAY),), landing=day, writer={"workers": 1}), rows),
        "a full chunk of lineitem": (Job(spec="SCALED", landing=landing, writer={"workers": 1}), full_rows),
    }
    stages: dict[str, list[Stages]] = {name: [] for name in jobs}
    for _ in range(bench.repeats):
        for name, (job, count) in jobs.items():
            stages[name].append(_stages(bench, job, count, bench.folder / "marks"))
    imports = {name: _import_s(bench.repeats, name) for name in ("sys", "polars", "rowledger.workers.process")}
    first_s = {name: statistics.median(one.since_spawn_s[-1] for one in found) for name, found in stages.items()}
    small_s, full_s = first_s.values()
    return Answer(
        title="start: seconds since a worker's process was started (medians)",
        columns=("first chunk", "imported", "connected", "COPY asked for", "first byte", "slowest", "CPU s"),
        rows=[
            (
                name,
                *(seconds(statistics.median(one.since_spawn_s[n] for one in found)) for n in range(len(_MOMENTS))),
                seconds(max(one.since_spawn_s[-1] for one in found)),
                seconds(statistics.median(one.cpu_s[-1] for one in found)),
            )
            for name, found in stages.items()
        ],
        figures={
            "moments": _MOMENTS,
            "stages": {name: [asdict(one) for one in found] for name, found in stages.items()},
            "import_s": imports,
        },
        targets=[
            at_most("a worker's start to its first COPY", small_s, _TARGET_S, "s"),
            at_most("… with a full chunk to read, check and encode first", full_s, _TARGET_S, "s"),
        ],
        notes=[f"importing {name}: {statistics.median(took):.3f} s" for name, took in imports.items() if name != "sys"],
    )


def _stages(bench: Bench, job: Job, rows: int, file: Path) -> Stages:
    file.unlink(missing_ok=True)
    bench.measure(job, rows, **{marks.VARIABLE: str(file)})
    made = marks.read_marks(file)
    spawned_ns = next(one.at_ns for one in made if one.moment == "spawn")
    worker = next(one.pid for one in made if one.moment == _MOMENTS[-1])
    first: dict[str, marks.Mark] = {}
    for one in made:
        if one.pid == worker:
            first.setdefault(one.moment, one)
    return Stages(
        since_spawn_s=[(first[moment].at_ns - spawned_ns) / 1e9 for moment in _MOMENTS],
        cpu_s=[first[moment].cpu_ns / 1e9 for moment in _MOMENTS],
    )


def _import_s(repeats: int, module: str) -> Sequence[float]:
    """Seconds to import a module in fresh interpreters, in an environment like a worker's."""
    command = [sys.executable, "-c", _IMPORT.format(module)]
    environment = child_environment(POLARS_MAX_THREADS="1", OMP_NUM_THREADS="1")
    environment.pop(marks.VARIABLE, None)
    runs = (
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=os.getcwd())  # noqa: S603, PTH109 - our own arguments
        for _ in range(repeats)
    )
    return [float(run.stdout) for run in runs]
