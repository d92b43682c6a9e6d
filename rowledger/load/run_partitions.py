"""Load partitions, a few at a time. One pool of workers, one set of sessions and one spool folder serve the whole run."""

import asyncio
import contextlib
import logging
import shutil
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rowledger.contract import Contract, as_partitions, require_partitions, signature_of
from rowledger.engines import early_hosts, is_elsewhere
from rowledger.errors import RowledgerError, SpecError
from rowledger.failpoints import active_failpoints
from rowledger.ledger import Holder, Incident, IncidentKind, Observer, PartitionReport, RivalRemedy, SupervisorSessions
from rowledger.load.committing import first_error
from rowledger.load.given_rows import RowsTogether, rows_by_partition
from rowledger.load.interrupt import run_interruptible
from rowledger.load.leases import LeaseKeeper
from rowledger.load.on_servers import load_on_servers
from rowledger.load.partition_load import PartitionLoad
from rowledger.load.pools import RunStart, pool_of
from rowledger.load.preflight import Preflight, check_before_loading
from rowledger.load.production import LOOK_S
from rowledger.load.progress import PartitionProgress, ProgressReporter
from rowledger.load.rejection import record_failed_run
from rowledger.load.request import RunRequest
from rowledger.load.run_context import RunContext
from rowledger.load.watching import UnbreakableObserver
from rowledger.machine import in_thread, spool_folder
from rowledger.postgres import OldSnapshots, OutageGate, Target, describe_format
from rowledger.settings import WriterSettings, settings
from rowledger.spec import Partition, TableSpec
from rowledger.workers import EarlyProcesses, IncidentRecorder

if TYPE_CHECKING:
    from rowledger.hosts import EarlyHosts

__all__ = ["run_partitions"]

_BYTES_A_CHUNK = 4 * 2**20  # of a Parquet file with rows of 200 bytes
_DELETE_S = 60.0  # what takes longer goes on in its thread
_WATCHING_SESSIONS = (
    2  # for leases, incidents and the claim, while other sessions reconcile; all but one close when they are idle
)


def run_partitions(
    spec: TableSpec,
    partitions: Sequence[Partition | str],
    *,
    url: str | None,
    landing_dir: Path,
    writer: WriterSettings,
    run_id: str | None,
    observer: Observer,
    rows: object,
    asset_key: tuple[str, ...] | None,
    rival_remedy: RivalRemedy | None,
    early: EarlyProcesses,
) -> list[PartitionReport]:
    """Load the partitions as `run_load` promises; workers and producers are taken from `early` first."""
    each = as_partitions(spec, partitions)
    require_partitions(spec, each)
    if (url is None) == (spec.servers is None):
        raise SpecError(
            f"table {spec.name}: its spec says by servers where each partition is, so its load takes no URL"
            if spec.servers
            else f"table {spec.name}: its spec names no servers, so its load takes the URL of one"
        )
    request = RunRequest(
        spec,
        each,
        url=url or "",
        landing_dir=landing_dir,
        writer=writer,
        run_id=run_id,
        observer=UnbreakableObserver(observer),
        rows=rows_by_partition(spec, each, rows),
        asset_key=asset_key,
        rival_remedy=rival_remedy,
    )
    return run_interruptible(_load(request, early) if url else load_on_servers(request, early, _load))


async def _load(request: RunRequest, early: EarlyProcesses) -> list[PartitionReport]:
    if rules := active_failpoints():
        request.observer.log(logging.WARNING, f"failpoints are on: {rules}")
    holder = Holder.this_process()
    async with contextlib.AsyncExitStack() as stack:
        elsewhere = is_elsewhere(request.writer)
        engine = await stack.enter_async_context(early_hosts(request.writer)) if elsewhere else None
        try:
            preflight = await check_before_loading(request, holder)
        except RowledgerError as error:
            await record_failed_run(request, error)
            raise
        await stack.enter_async_context(preflight.session)
        return await _load_claimed(request, preflight, holder, early, engine)


async def _load_claimed(
    request: RunRequest, preflight: Preflight, holder: Holder, early: EarlyProcesses, engine: "EarlyHosts | None"
) -> list[PartitionReport]:
    """Load with the connections that are claimed."""
    with spool_folder(settings().spool_dir, uuid.uuid4().hex) as spool_dir:
        _say_how(request, preflight.target)
        asked = request.writer
        request = replace(request, writer=preflight.writer)
        try:
            if isinstance(request.rows, RowsTogether):
                from rowledger.load.split_rows import with_rows_split  # noqa: PLC0415, few loads have such rows

                request = await with_rows_split(request, request.rows, preflight.target.columns, spool_dir / "given")
        except RowledgerError as error:
            await record_failed_run(request, error)
            raise
        async with _opened(RunStart(request, asked, preflight, holder, early, engine, spool_dir)) as run:
            return await _load_all(run, spool_dir)


def _say_how(request: RunRequest, target: Target) -> None:
    """Log how the rows are written and checked, so that a slow way does not come as a surprise."""
    spec, observer = request.spec, request.observer
    contract = Contract.of(spec.row)
    observer.log(logging.INFO, f"table {spec.name}: {describe_format(target.columns)}")
    if contract.row_by_row is not None:
        observer.log(logging.INFO, f"table {spec.name}: rows are checked one by one, because of {contract.row_by_row}")
    elif by_value := [f"{column} ({construct})" for column, construct in contract.value_by_value.items()]:
        observer.log(logging.INFO, f"table {spec.name}: checked value by value: {', '.join(by_value)}")


async def _jobs_expected(request: RunRequest) -> int:
    """About how many chunks there are, by the sizes of the files; where these are not known at once, one a partition."""
    source, partitions, landing_dir = request.spec.source, request.partitions, request.landing_dir
    if len(partitions) >= request.writer.workers:
        return len(partitions)
    try:
        sizes = await in_thread(
            lambda: [source.local_bytes(partition, landing_dir) or 0 for partition in partitions], timeout_s=LOOK_S
        )
    except Exception:  # noqa: BLE001 - the plan says what is wrong with the source
        return len(partitions)
    return sum(1 + size // _BYTES_A_CHUNK for size in sizes)


@contextlib.asynccontextmanager
async def _opened(start: RunStart) -> AsyncIterator[RunContext]:
    """Run pool, leases and progress while the block runs, and end all of them after it."""
    request, preflight, holder = start.request, start.preflight, start.holder
    progress = {partition.key: PartitionProgress() for partition in request.partitions}

    def count(incident: Incident) -> None:
        """Add the incident to its partition's report, or to the first partition's where it concerns the whole run."""
        progress[incident.partition_key or next(iter(progress))].incidents.append(incident)

    async def limited(told: str) -> None:
        await incidents.record_of_run(IncidentKind.CONNECTIONS_LIMITED, told)

    async def renewed() -> None:
        await share.follow(watching, pool, sessions, limited=limited, log=log)

    def outage_ended(told: str) -> None:
        incidents.outage_ended(told)  # made below, since it needs the gate

    url, writer, share, log = request.url, request.writer, preflight.share, request.observer.log
    gate = OutageGate(url, writer, log=log, ended=outage_ended)
    sessions, watching = (
        SupervisorSessions(url, writer, size=size, kept=kept, holder=holder, gate=gate, log=log)
        for size, kept in ((share.sessions, share.sessions), (_WATCHING_SESSIONS, 1))
    )
    watching.adopt(preflight.session)
    incidents = IncidentRecorder(watching, holder, request.run_id, log=log, told=count)

    async def ready() -> None:
        await asyncio.wait({opening})

    pool = await pool_of(
        start,
        gate=gate,
        watching=watching,
        incidents=incidents,
        told=count,
        ready=ready,
        jobs_expected=await _jobs_expected(request),
    )
    opening = asyncio.create_task(sessions.open_one())  # while the first partition is planned
    try:
        async with (
            ProgressReporter(request.observer, progress).reporting(),
            LeaseKeeper(watching, holder, writer.lease_s, log, renewed).keeping(),
            pool,
        ):
            for kind, told in preflight.limited:
                log(logging.WARNING, told)
                await incidents.record_of_run(kind, told)
            snapshots = OldSnapshots(writer.publish_snapshot_wait_s)
            signature = signature_of(request.spec.row)
            yield RunContext(
                request, preflight.target, holder, sessions, pool, incidents, progress, snapshots, signature
            )
    finally:
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await incidents.close()
        await asyncio.gather(sessions.close(), watching.close())
        await gate.close()


async def _delete_spooled(folder: Path) -> None:
    """Delete what a partition has spooled: the disk need not have room for all partitions of a run at once.

    What is left of it is deleted with the run's folder.
    """
    with contextlib.suppress(TimeoutError):
        await in_thread(lambda: shutil.rmtree(folder, ignore_errors=True), timeout_s=_DELETE_S)


async def _load_all(run: RunContext, spool_dir: Path) -> list[PartitionReport]:
    """Load all partitions, a few at a time, in their order. Those that wait take no memory: there may be tens of thousands."""
    partitions = run.request.partitions
    waiting = iter(enumerate(partitions))
    reports: dict[int, PartitionReport] = {}

    async def load_one_after_another() -> None:
        for number, partition in waiting:
            folder = spool_dir / str(number)
            report = await PartitionLoad(run, partition, folder).run()
            await _delete_spooled(folder)
            run.progress[partition.key].done = True
            run.request.observer.finished(report)
            reports[number] = report

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(run.request.writer.partitions_in_flight, len(partitions))):
                group.create_task(load_one_after_another())
    except BaseExceptionGroup as group_of_errors:
        raise first_error(group_of_errors) from None
    return [reports[number] for number in range(len(partitions))]
