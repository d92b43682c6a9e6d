"""Load a table that is on several servers: the partitions of each are a load of their own, and all run at the same time."""

import asyncio
import contextlib
import copy
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from rowledger.contract import Contract
from rowledger.errors import RowledgerError
from rowledger.ledger import Observer, PartitionReport, Progress, RowCounts
from rowledger.load.committing import first_error
from rowledger.load.given_rows import RowsTogether
from rowledger.load.request import RunRequest
from rowledger.machine import spool_folder
from rowledger.postgres import TargetServer, by_server
from rowledger.settings import WriterSettings, settings
from rowledger.spec import Partition
from rowledger.workers import EarlyProcesses, default_workers

__all__ = ["divided", "load_on_servers", "shares"]

Load = Callable[[RunRequest, EarlyProcesses], Awaitable[list[PartitionReport]]]


async def load_on_servers(request: RunRequest, early: EarlyProcesses, load: Load) -> list[PartitionReport]:
    """The reports of all partitions, in their order; `load` loads those of one server.

    The servers share the run's workers by their partitions, each at least one; where there are more servers than workers, the
    others wait. With an engine, whose hosts serve one load at a time, the servers come one after the other, each with all
    hosts. What keeps a load on one server from beginning or from going on is the error of its partitions alone, also a
    variable that is not set. Raises UnknownPartition and SpecError if the spec does not say where a partition is.
    """
    placed = by_server(request.spec, request.partitions)
    at_once, writers = divided(request.writer, placed)
    progress = _ProgressTogether(request.observer, placed)
    turns = asyncio.Semaphore(at_once)
    reports: dict[str, PartitionReport] = {}

    async def load_one(server: TargetServer, partitions: Sequence[Partition], writer: WriterSettings) -> None:
        own = replace(
            whole,
            partitions=tuple(partitions),
            writer=writer,
            observer=_ServerObserver(request.observer, progress, server),
        )
        async with turns:
            for report in await _load_on(server, own, early, load):
                reports[report.partition_key] = report

    async with _split(request) as whole:
        try:
            async with asyncio.TaskGroup() as group:
                for (server, partitions), writer in zip(placed.items(), writers, strict=True):
                    group.create_task(load_one(server, partitions, writer))
        except BaseExceptionGroup as group_of_errors:
            raise first_error(group_of_errors) from None
    return [reports[partition.key] for partition in request.partitions]


async def _load_on(
    server: TargetServer, request: RunRequest, early: EarlyProcesses, load: Load
) -> list[PartitionReport]:
    started = time.monotonic()
    try:
        reports = await load(replace(request, url=server.url), early)
        return [replace(report, server=server.variable) for report in reports]
    except RowledgerError as error:
        told = copy.copy(error)  # its class says what to do, and its attributes stay
        told.args = (f"server {server}: {error}",)
        request.observer.log(logging.ERROR, f"table {request.spec.name}: the load on this server has failed: {error}")
    failed = [_failed(request, partition, told, server, time.monotonic() - started) for partition in request.partitions]
    for report in failed:
        request.observer.finished(report)
    request.observer.progress(Progress(RowCounts(), 0.0, len(failed), len(failed)))
    return failed


def _failed(
    request: RunRequest, partition: Partition, error: RowledgerError, server: TargetServer, seconds: float
) -> PartitionReport:
    """The report of a partition of a server whose load has failed as a whole."""
    return PartitionReport(
        table=request.spec.name,
        partition_key=partition.key,
        load_id=None,
        counts=RowCounts(),
        chunks=0,
        retries=0,
        seconds=seconds,
        peak_rss_bytes=0,
        resumed=False,
        checks=(),
        incidents=(),
        error=error,
        server=server.variable,
    )


@contextlib.asynccontextmanager
async def _split(request: RunRequest) -> AsyncIterator[RunRequest]:
    """The request; rows that are given for all partitions together, and can be read only once, are split before any load."""
    if not isinstance(request.rows, RowsTogether):
        yield request
        return
    from rowledger.load.split_rows import with_rows_split  # noqa: PLC0415, few loads have such rows

    with spool_folder(settings().spool_dir, uuid.uuid4().hex) as folder:
        # By the row model's columns: those of a server's table are known when its load begins, which judges each row again.
        columns = Contract.of(request.spec.row).columns
        yield await with_rows_split(request, request.rows, columns, folder / "given")


def divided(
    writer: WriterSettings, placed: Mapping[TargetServer, Sequence[Partition]]
) -> tuple[int, list[WriterSettings]]:
    """How many servers are loaded at once, and the settings of each one's load."""
    own = [writer.model_copy(update={"hosts_url_variable": server.variable}) for server in placed]
    if len(own) == 1 or writer.engine != "local":
        return 1, own
    sizes = [len(partitions) for partitions in placed.values()]
    total = writer.workers or default_workers()
    parts = zip(own, shares(total, sizes), shares(writer.partitions_in_flight, sizes), strict=True)
    return total, [
        each.model_copy(
            update={
                "workers": workers,
                "partitions_in_flight": flying,
                # So that each load, which looks at all of the memory that is left, counts on its share of it.
                "worker_memory_bytes": writer.worker_memory_bytes * total // workers,
            }
        )
        for each, workers, flying in parts
    ]


def shares(total: int, sizes: Sequence[int]) -> list[int]:
    """The total, divided in proportion to the sizes; each has one at least, so that they may have more than the total."""
    found = [1] * len(sizes)
    for _ in range(total - len(sizes)):
        neediest = max(range(len(sizes)), key=lambda number: sizes[number] / found[number])
        found[neediest] += 1
    return found


class _ProgressTogether:
    """Adds up the progress of all servers."""

    def __init__(self, observer: Observer, placed: Mapping[TargetServer, Sequence[Partition]]) -> None:
        self._observer = observer
        self._latest = {server: Progress(RowCounts(), 0.0, 0, len(partitions)) for server, partitions in placed.items()}

    def take(self, server: TargetServer, progress: Progress) -> None:
        self._latest[server] = progress
        known = self._latest.values()
        self._observer.progress(
            Progress(
                sum((each.counts for each in known), RowCounts()),
                rows_per_second=sum(each.rows_per_second for each in known),
                partitions_done=sum(each.partitions_done for each in known),
                partitions=sum(each.partitions for each in known),
            )
        )


class _ServerObserver:
    """Names the server in what its load says."""

    def __init__(self, observer: Observer, together: _ProgressTogether, server: TargetServer) -> None:
        self._observer = observer
        self._together = together
        self._server = server

    def log(self, level: int, message: str) -> None:
        self._observer.log(level, f"{self._server.variable}: {message}")

    def progress(self, progress: Progress) -> None:
        self._together.take(self._server, progress)

    def finished(self, report: PartitionReport) -> None:
        self._observer.finished(replace(report, server=self._server.variable))
