"""One load in a fresh process: `python -m benchmarks.scale.run JOB`, with the target's URL in ROWLEDGER_DATABASE_URL.

A process of its own tells what a run costs from its first byte on, and can be killed. It prints its figures as a line of JSON.
"""

import logging
import resource
import sys
import time
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import BaseModel

from benchmarks.memory import peak_rss_bytes
from benchmarks.scale import marks, shapes, tables
from benchmarks.scale.bare import copy_chunks
from rowledger.ledger.reports import PartitionReport, Progress
from rowledger.load.run import run_load
from rowledger.postgres.server_url import target_url
from rowledger.settings import WriterSettings
from rowledger.spec.table import TableSpec
from rowledger.workers import child_process, spawn
from rowledger.workers.handle import WorkerHandle


class Job(BaseModel):
    """What to load and how: the partitions of the keys, or that many partitions of small rows.

    `way` is the whole of Rowledger, or what is left of its workers when the rest is taken away.
    """

    spec: str
    keys: tuple[str, ...] = ("all",)
    partitions: int | None = None
    landing: Path
    writer: dict[str, Any] = {}
    way: Literal["load", "prepared", "bare"] = "load"
    memory_looks: bool = True

    @property
    def table(self) -> TableSpec:
        """The spec itself."""
        found: TableSpec = {**vars(tables), **vars(shapes)}[self.spec]
        return found


class Result(BaseModel):
    """What the process knows of itself. Seconds and CPU are those of the load, without this process's imports."""

    run_s: float
    client_cpu_s: float
    supervisor_cpu_s: float
    supervisor_rss_bytes: int
    written_rows: int
    dead_lettered_rows: int = 0
    chunks: int = 0
    resumed: bool = False
    deaths: int = 0


class Silent:
    """An observer that lets only warnings and errors through."""

    def log(self, level: int, message: str) -> None:
        if level >= logging.WARNING:
            print(message, file=sys.stderr)

    def progress(self, progress: Progress) -> None: ...

    def finished(self, report: PartitionReport) -> None: ...


def main() -> None:
    """Entry point of the process."""
    job = Job.model_validate_json(sys.argv[1])
    url = target_url()
    _mark_spawns()
    if not job.memory_looks:
        WorkerHandle.look_at_memory = lambda _self: None  # type: ignore[method-assign]  # a guard without a switch
    writer = WriterSettings.model_validate(job.writer)
    cpu_started_s, own_started_s, started = _cpu_s(), time.process_time(), time.perf_counter()
    if job.way == "load":
        figures = _load(job, url, writer)
    else:
        rows = copy_chunks(url, job.table, job.landing, writer, is_prepared=job.way == "prepared")
        figures = {"written_rows": rows}
    run_s = time.perf_counter() - started
    cpu_s, own_s = _cpu_s() - cpu_started_s, time.process_time() - own_started_s
    result = Result(
        run_s=run_s,
        client_cpu_s=cpu_s,
        supervisor_cpu_s=own_s,
        supervisor_rss_bytes=peak_rss_bytes(psutil.Process()),
        **figures,
    )
    print(result.model_dump_json(), flush=True)


def _load(job: Job, url: str, writer: WriterSettings) -> dict[str, Any]:
    if job.partitions is None:
        partitions = [tables.partition_of(key) for key in job.keys]
    else:
        partitions = [shapes.partition_of(number) for number in range(job.partitions)]
    reports = run_load(
        job.table, partitions, url=url, landing_dir=job.landing, writer=writer, run_id=None, observer=Silent()
    )
    for report in reports:
        if report.error is not None:
            raise SystemExit(f"partition {report.partition_key}: {report.error}")
    return {
        "written_rows": sum(report.written_rows for report in reports),
        "dead_lettered_rows": sum(report.dead_lettered_rows for report in reports),
        "chunks": sum(report.chunks for report in reports),
        "resumed": any(report.resumed for report in reports),
        "deaths": sum(len(report.deaths) for report in reports),
    }


def _mark_spawns() -> None:
    start = spawn.spawn

    def marked_spawn(module: str) -> spawn.Spawned:
        marks.mark("spawn")
        return start(module)

    spawn.spawn = child_process.spawn = marked_spawn


def _cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
