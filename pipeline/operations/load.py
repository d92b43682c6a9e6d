"""Load partitions: plan, begin, commit chunks, reconcile, publish. One pool of workers serves all partitions of a run."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
from pydantic import SecretStr

from pipeline.chunk_transaction import ChunkJob
from pipeline.contract.check import Contract
from pipeline.errors import (
    ChunkFailed,
    DatabaseUnavailable,
    DeadLetterBudgetSpent,
    DiscrepancyFound,
    Fenced,
    RowledgerError,
    SourceError,
    TargetMismatch,
)
from pipeline.failpoints import Place, active_failpoints, failpoint
from pipeline.model.manifest import ChunkPlan, Manifest
from pipeline.model.outcome import Failed, FailureKind
from pipeline.model.partition import Partition
from pipeline.model.report import Observer, PartitionReport
from pipeline.model.table import TableSpec
from pipeline.operations.begin import BegunLoad, begin_load
from pipeline.operations.control import Control
from pipeline.operations.interrupt import run_interruptible
from pipeline.operations.publish import FinishedLoad, Verdict, finish_load, reject_load
from pipeline.operations.upkeep import Tally, Upkeep
from pipeline.operations.watching import UnbreakableObserver
from pipeline.postgres.catalogue import Target, drop_staging, ensure_target, read_ended_staging_tables
from pipeline.postgres.ledger import LoadHandle, read_chunk_totals, read_pending_chunks
from pipeline.postgres.migrate import ensure_ledger
from pipeline.postgres.session import check_server, connect
from pipeline.postgres.sqlstate import summarize
from pipeline.settings import WriterSettings
from pipeline.workers.messages import Hello
from pipeline.workers.supervisor import Supervisor

__all__ = ["load_partitions", "run_load"]

_SWEEP_LOCK_TIMEOUT_S = 1
_ROUNDS_MAX = 3  # of committing what a crash of the server has undone


def run_load(
    spec: TableSpec,
    partition_keys: Sequence[str],
    *,
    url: str,
    landing_dir: Path,
    writer: WriterSettings,
    run_id: str | None,
    observer: Observer,
) -> list[PartitionReport]:
    """Load the partitions and return a report for each, in the order of the keys.

    What goes wrong with one partition stands in its report; raises RowledgerError for what concerns them all: the server, the
    spec, the target's shape. An interrupt ends the workers and their backends first, then takes its usual course.
    """
    return run_interruptible(
        load_partitions(
            spec,
            partition_keys,
            url=url,
            landing_dir=landing_dir,
            writer=writer,
            run_id=run_id,
            observer=observer,
        )
    )


async def load_partitions(
    spec: TableSpec,
    partition_keys: Sequence[str],
    *,
    url: str,
    landing_dir: Path,
    writer: WriterSettings,
    run_id: str | None,
    observer: Observer,
) -> list[PartitionReport]:
    """`run_load` for callers that have an event loop of their own."""
    observer = UnbreakableObserver(observer)
    if rules := active_failpoints():
        observer.log(logging.WARNING, f"failpoints are on: {rules}")
    partitions = [spec.partitions.partition(key) for key in partition_keys]
    target = await _prepare_database(spec, url, writer)
    run = _Run(spec, target, url, landing_dir, writer, run_id, observer, partitions)
    async with run.open():
        return await run.load_all()


async def _prepare_database(spec: TableSpec, url: str, writer: WriterSettings) -> Target:
    """Ledger and target table, made where they are missing; staging tables of ended loads are dropped."""
    contract = Contract.of(spec.row)
    session = await connect(url, application_name="rowledger setup", timeout_s=writer.connect_timeout_s)
    try:
        async with asyncio.timeout(writer.statement_timeout_s):
            await check_server(session)
            await ensure_ledger(session.connection)
            target = await ensure_target(session.connection, spec, contract.columns)
            await session.connection.execute(f"set lock_timeout = '{_SWEEP_LOCK_TIMEOUT_S}s'")
            for staging in await read_ended_staging_tables(session.connection):
                with contextlib.suppress(asyncpg.LockNotAvailableError):  # somebody reads it: a later run drops it
                    await drop_staging(session.connection, staging)
    finally:
        await session.close()
    try:
        contract.require_writable(target.column_types)
    except TargetMismatch as mismatch:
        raise TargetMismatch(f"target table {spec.target}: {mismatch}") from None
    return target


class _Run:
    """One run: its sessions, its pool, its partitions."""

    def __init__(
        self,
        spec: TableSpec,
        target: Target,
        url: str,
        landing_dir: Path,
        writer: WriterSettings,
        run_id: str | None,
        observer: Observer,
        partitions: list[Partition],
    ) -> None:
        self._spec = spec
        self._target = target
        self._landing_dir = landing_dir
        self._writer = writer
        self._run_id = run_id
        self._observer = observer
        self._partitions = partitions
        self._tallies = {partition.key: Tally() for partition in partitions}
        self._control = Control(url, writer, size=writer.partitions_in_flight, log=observer.log)
        self._upkeep = Upkeep(url, writer, run_id, observer, self._tallies)
        hello = Hello(
            url=SecretStr(url),
            table=spec.reference,
            columns=target.columns,
            settings=writer,
            run_id=run_id,
        )
        self._supervisor = Supervisor(hello, bury=self._upkeep.bury, log=observer.log)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Pool, leases and progress for as long as the block runs; all of it ended behind it."""
        try:
            async with self._upkeep.running(), self._supervisor:
                yield
        finally:
            await self._control.close()

    async def load_all(self) -> list[PartitionReport]:
        """Load all partitions, a few at a time."""
        places = asyncio.Semaphore(self._writer.partitions_in_flight)

        async def load_in_turn(partition: Partition) -> PartitionReport:
            async with places:
                report = await self._load(partition)
                self._tallies[partition.key].done = True
                self._observer.finished(report)
                return report

        tasks = [asyncio.create_task(load_in_turn(partition)) for partition in self._partitions]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _load(self, partition: Partition) -> PartitionReport:
        """The story of one partition. Its own failures end in its report."""
        started = time.monotonic()
        begun: BegunLoad | None = None
        verdict: Verdict | None = None
        error: Exception | None = None
        try:
            manifest = await self._plan(partition)
            begun = await self._begin(partition, manifest)
            try:
                await self._commit_chunks(begun, partition, manifest)
                load = FinishedLoad(self._spec, self._target, partition, manifest, begun.handle)
                verdict = await finish_load(self._control, load, self._writer, self._say)
                error = verdict.error
                tally = self._tallies[partition.key]
                tally.written_rows, tally.dead_lettered_rows = (
                    verdict.totals.written_rows,
                    verdict.totals.dead_lettered_rows,
                )
                failpoint(Place.AFTER_PUBLISH, partition=partition.key)
            except (DeadLetterBudgetSpent, DiscrepancyFound, TargetMismatch) as refusal:
                await reject_load(self._control, begun.handle, str(refusal))
                error = refusal
        except asyncpg.PostgresError as refusal:  # its own text may quote a row
            error = DatabaseUnavailable(f"partition {partition.key}: the server refused: {summarize(refusal)}")
        except Exception as failure:  # noqa: BLE001 - one partition's failure must not end its neighbours; it is reported
            error = failure
        return await self._report(partition, begun, verdict, error, time.monotonic() - started)

    async def _plan(self, partition: Partition) -> Manifest:
        """The manifest, planned in a thread: it reads files, and leases must be kept meanwhile."""
        failpoint(Place.IN_PLANNING, partition=partition.key)
        manifest = await asyncio.to_thread(
            self._spec.source.plan,
            partition,
            landing_dir=self._landing_dir,
            chunk_rows_max=self._writer.chunk_rows_max,
        )
        tally = self._tallies[partition.key]
        tally.enqueued_rows, tally.chunks = manifest.enqueued_rows, len(manifest.chunks)
        return manifest

    async def _begin(self, partition: Partition, manifest: Manifest) -> BegunLoad:
        begun = await begin_load(
            self._control,
            self._spec,
            self._target,
            partition,
            manifest,
            holder=self._upkeep.holder,
            run_id=self._run_id,
            settings=self._writer,
            say=self._say,
        )
        if begun.resumed:
            done = len(manifest.chunks) - len(begun.pending)
            self._say(f"partition {partition.key}: resuming load {begun.handle.load_id}, {done} chunks were committed")
            await self._recount(begun.handle, partition)
        return begun

    async def _recount(self, handle: LoadHandle, partition: Partition) -> None:
        """Set the tally to what the ledger has."""
        totals = await self._control.transaction(
            "read progress", lambda connection: read_chunk_totals(connection, handle.load_id)
        )
        tally = self._tallies[partition.key]
        tally.written_rows, tally.dead_lettered_rows = totals.written_rows, totals.dead_lettered_rows

    async def _commit_chunks(self, begun: BegunLoad, partition: Partition, manifest: Manifest) -> None:
        """Have every pending chunk committed, those too whose commit a crash of the server has undone.

        Chunks commit without waiting for the disk, so what workers report is not the last word. What is still missing after
        a few rounds is for reconcile to find.
        """
        allowed = self._spec.dead_letters.allowed_rows(manifest.enqueued_rows)
        pending: Sequence[ChunkPlan] = begun.pending
        for _ in range(_ROUNDS_MAX):
            if not pending:
                return
            await self._commit_all(begun.handle, partition, pending, allowed)
            pending = await self._control.transaction(
                "read pending chunks", lambda connection: read_pending_chunks(connection, begun.handle, manifest)
            )
            if pending:
                self._say(f"partition {partition.key}: {len(pending)} chunks are still pending in the ledger; again")
                await self._recount(begun.handle, partition)

    async def _commit_all(
        self, handle: LoadHandle, partition: Partition, chunks: Sequence[ChunkPlan], allowed: int
    ) -> None:
        """Have these chunks committed; the first failure calls the others off."""
        tasks = [asyncio.create_task(self._commit_chunk(handle, partition, chunk, allowed)) for chunk in chunks]
        try:
            for task in asyncio.as_completed(tasks):
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _commit_chunk(self, handle: LoadHandle, partition: Partition, chunk: ChunkPlan, allowed: int) -> None:
        job = ChunkJob(handle, partition, chunk, attempt=1, dead_letters_max=allowed)
        outcome = await self._supervisor.commit(job)
        tally = self._tallies[partition.key]
        tally.retries += outcome.retries
        if isinstance(outcome, Failed):
            if outcome.failure is FailureKind.FATAL and outcome.traceback:
                self._observer.log(
                    logging.ERROR, f"partition {partition.key}, chunk {chunk.chunk_no}:\n{outcome.traceback}"
                )
            raise _as_error(outcome, f"table {self._spec.name}, partition {partition.key}, chunk {chunk.chunk_no}")
        tally.written_rows += outcome.written_rows
        tally.dead_lettered_rows += outcome.dead_lettered_rows
        if tally.dead_lettered_rows > allowed:
            raise DeadLetterBudgetSpent(
                f"table {self._spec.name}, partition {partition.key}: {tally.dead_lettered_rows} rows refused so far, "
                f"the budget is {allowed}"
            )

    async def _report(
        self,
        partition: Partition,
        begun: BegunLoad | None,
        verdict: Verdict | None,
        error: Exception | None,
        seconds: float,
    ) -> PartitionReport:
        tally = self._tallies[partition.key]
        return PartitionReport(
            table=self._spec.name,
            partition_key=partition.key,
            load_id=begun.handle.load_id if begun else None,
            enqueued_rows=tally.enqueued_rows,
            written_rows=tally.written_rows,
            dead_lettered_rows=tally.dead_lettered_rows,
            chunks=tally.chunks,
            retries=tally.retries,
            seconds=seconds,
            peak_rss_bytes=self._supervisor.peak_rss_bytes,
            resumed=begun.resumed if begun else False,
            checks=verdict.checks if verdict else (),
            incidents=tuple(tally.incidents),
            error=error,
        )

    def _say(self, message: str) -> None:
        self._observer.log(logging.INFO, message)


def _as_error(outcome: Failed, where: str) -> RowledgerError:
    """A worker's failure as the error its reader acts on."""
    text = f"{where}: {outcome.summary}"
    match outcome.failure:
        case FailureKind.FENCED:
            return Fenced(text)
        case FailureKind.SOURCE:
            return SourceError(text)
        case FailureKind.BUDGET:
            return DeadLetterBudgetSpent(text)
        case FailureKind.TRANSIENT:
            return DatabaseUnavailable(f"{text} (after {outcome.retries} retries); a rerun resumes at this chunk")
        case FailureKind.FATAL:
            return ChunkFailed(f"{text}; a rerun resumes at this chunk")
