"""Load partitions, a few at a time. One pool of workers, one set of sessions and one spool folder serve the whole run."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

from rowledger.contract import Contract, require_partitions
from rowledger.errors import RowledgerError
from rowledger.failpoints import active_failpoints
from rowledger.ledger import Holder, Incident, Observer, PartitionReport, SupervisorSessions
from rowledger.load.interrupt import run_interruptible
from rowledger.load.leases import LeaseKeeper
from rowledger.load.partition_load import PartitionLoad
from rowledger.load.preflight import Preflight, check_before_loading
from rowledger.load.progress import PartitionProgress, ProgressReporter
from rowledger.load.rejection import record_failed_run
from rowledger.load.request import RunRequest
from rowledger.load.run_context import RunContext
from rowledger.load.spool_folder import spool_folder
from rowledger.load.watching import UnbreakableObserver
from rowledger.postgres import OldSnapshots, OutageGate, Target, describe_format
from rowledger.settings import WriterSettings, settings
from rowledger.spec import Partition, TableSpec
from rowledger.workers import Hello, IncidentRecorder, Pool, require_no_worker

__all__ = ["run_load"]

_WATCHING_SESSIONS = 2  # for leases and incidents, while other sessions reconcile


def run_load(
    spec: TableSpec,
    partitions: Sequence[Partition],
    *,
    url: str,
    landing_dir: Path,
    writer: WriterSettings,
    run_id: str | None,
    observer: Observer,
) -> list[PartitionReport]:
    """Load the partitions, each once, and return a report for each, in their order.

    The errors of one partition are in its report. Raises RowledgerError for what concerns all of them: the server,
    the spec, the keys, the target's shape. An interrupt ends the workers and their backends first, and then takes its
    usual course.
    """
    request = RunRequest(
        spec,
        tuple({partition.key: partition for partition in partitions}.values()),
        url=url,
        landing_dir=landing_dir,
        writer=writer,
        run_id=run_id,
        observer=UnbreakableObserver(observer),
    )
    require_partitions(spec, request.partitions)
    return run_interruptible(_load(request))


async def _load(request: RunRequest) -> list[PartitionReport]:
    require_no_worker("a load")
    if rules := active_failpoints():
        request.observer.log(logging.WARNING, f"failpoints are on: {rules}")
    try:
        preflight = await check_before_loading(request)
    except RowledgerError as error:
        await record_failed_run(request, error)
        raise
    with spool_folder(settings().spool_dir, uuid.uuid4().hex) as spool_dir:
        _say_how(request, preflight.target)
        run = _Run(replace(request, writer=preflight.writer), preflight, spool_dir)
        async with run.open():
            return await run.load_all()


def _say_how(request: RunRequest, target: Target) -> None:
    """Log how the rows are written and checked, so that a slow way does not come as a surprise."""
    spec, observer = request.spec, request.observer
    contract = Contract.of(spec.row)
    observer.log(logging.INFO, f"table {spec.name}: {describe_format(target.columns)}")
    if contract.row_by_row is not None:
        observer.log(logging.INFO, f"table {spec.name}: rows are checked one by one, because of {contract.row_by_row}")
    elif by_value := [f"{column} ({construct})" for column, construct in contract.value_by_value.items()]:
        observer.log(logging.INFO, f"table {spec.name}: checked value by value: {', '.join(by_value)}")


class _Run:
    """One run: its sessions, its pool, its partitions."""

    def __init__(self, request: RunRequest, preflight: Preflight, spool_dir: Path) -> None:
        self._request = request
        self._limited = preflight.limited
        self._spool_dir = spool_dir
        self._progress = {partition.key: PartitionProgress() for partition in request.partitions}
        url, writer, log = request.url, request.writer, request.observer.log
        holder = Holder.this_process()
        self._gate = gate = OutageGate(url, writer, log=log, ended=self._outage_ended)
        self._sessions, self._watching = (
            SupervisorSessions(url, writer, size=size, holder=holder, gate=gate, log=log)
            for size in (writer.partitions_in_flight, _WATCHING_SESSIONS)
        )
        self._incidents = IncidentRecorder(self._watching, holder, request.run_id, log=log, told=self._count_incident)
        self._leases = LeaseKeeper(self._watching, holder, writer.lease_s, log)
        self._reporter = ProgressReporter(request.observer, self._progress)
        hello = Hello.of(request.spec, url=url, settings=writer, holder=holder.token.hex)
        self._pool = Pool(
            hello, gate=gate, notice=self._incidents.record, log=log, jobs_expected=len(request.partitions)
        )
        self._context = RunContext(
            request,
            preflight.target,
            holder,
            self._sessions,
            self._pool,
            self._incidents,
            self._progress,
            OldSnapshots(writer.publish_snapshot_wait_s),
        )

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Run pool, leases and progress while the block runs, and end all of them after it."""
        try:
            async with self._reporter.reporting(), self._leases.keeping(), self._pool:
                for kind, told in self._limited:
                    self._request.observer.log(logging.WARNING, told)
                    await self._incidents.record_of_run(kind, told)
                yield
        finally:
            await self._incidents.close()
            await asyncio.gather(self._sessions.close(), self._watching.close())
            await self._gate.close()

    def _outage_ended(self, told: str) -> None:
        self._incidents.outage_ended(told)

    def _count_incident(self, incident: Incident) -> None:
        """Add the incident to its partition's report, or to the first partition's where it concerns the whole run."""
        first = next(iter(self._progress))
        self._progress[incident.partition_key or first].incidents.append(incident)

    async def load_all(self) -> list[PartitionReport]:
        """Load all partitions, a few at a time."""
        coming = iter(enumerate(self._request.partitions))
        reports: dict[int, PartitionReport] = {}

        async def load_in_turn() -> None:
            for number, partition in coming:
                report = await PartitionLoad(self._context, partition, self._spool_dir / str(number)).run()
                self._progress[partition.key].done = True
                self._request.observer.finished(report)
                reports[number] = report

        lanes = min(self._request.writer.partitions_in_flight, len(self._request.partitions))
        tasks = [asyncio.create_task(load_in_turn()) for _ in range(lanes)]
        try:
            await asyncio.gather(*tasks)
            return [reports[number] for number in sorted(reports)]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
