"""Load partitions, a few at a time: one pool of workers, one set of sessions and one spool folder serve a whole run."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from pydantic import SecretStr

<<<<<<< HEAD
from pipeline.chunk_transaction import ChunkJob
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
from pipeline.failpoints import Place, active_failpoints, async_failpoint, failpoint
from pipeline.model.manifest import ChunkPlan, Manifest
from pipeline.model.outcome import Failed, FailureKind, IncidentKind, Probed, Replayed
=======
from pipeline.failpoints import active_failpoints
>>>>>>> main
from pipeline.model.partition import Partition
from pipeline.model.report import Observer, PartitionReport
from pipeline.model.table import TableSpec
from pipeline.operations.control import Control
from pipeline.operations.interrupt import run_interruptible
from pipeline.operations.partition_load import PartitionLoad, RunContext
from pipeline.operations.preflight import Preflight, check_before_loading
from pipeline.operations.spool_folder import spool_folder
from pipeline.operations.upkeep import Tally, Upkeep
from pipeline.operations.watching import UnbreakableObserver
from pipeline.postgres.ledger import Holder
from pipeline.settings import WriterSettings, settings
from pipeline.workers.messages import Hello
from pipeline.workers.supervisor import Supervisor

__all__ = ["load_partitions", "run_load"]


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
    partitions = [
        spec.partitions.partition(key) for key in dict.fromkeys(partition_keys)
    ]  # a key named twice is loaded once
    preflight = await check_before_loading(
        spec, url, writer, landing_dir, run_id, say=lambda text: observer.log(logging.WARNING, text)
    )
    with spool_folder(settings().spool_dir, uuid.uuid4().hex) as spool_dir:
        run = _Run(spec, preflight, url, landing_dir, spool_dir, run_id, observer, partitions)
        async with run.open():
            return await run.load_all()


class _Run:
    """One run: its sessions, its pool, its partitions."""

    def __init__(
        self,
        spec: TableSpec,
        preflight: Preflight,
        url: str,
        landing_dir: Path,
        spool_dir: Path,
        run_id: str | None,
        observer: Observer,
        partitions: list[Partition],
    ) -> None:
        self._limited = preflight.limited
        self._observer = observer
        self._partitions = partitions
        self._spool_dir = spool_dir
        self._writer = writer = preflight.writer
        self._tallies = {partition.key: Tally() for partition in partitions}
        holder = Holder.this_process()
        self._upkeep = Upkeep(url, writer, holder, run_id, observer, self._tallies)
        gate = self._upkeep.gate
        self._control = Control(
            url, writer, size=writer.partitions_in_flight, holder=holder, gate=gate, log=observer.log
        )
        hello = Hello(url=SecretStr(url), table=spec.reference, settings=writer, holder=holder.token.hex)
        self._supervisor = Supervisor(hello, gate=gate, notice=self._upkeep.notice, log=observer.log)
        self._context = RunContext(
            spec=spec,
            target=preflight.target,
            landing_dir=landing_dir,
            writer=writer,
            holder=holder,
            run_id=run_id,
            control=self._control,
            supervisor=self._supervisor,
            upkeep=self._upkeep,
            observer=observer,
            tallies=self._tallies,
        )

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Pool, leases and progress for as long as the block runs; all of it ended behind it."""
        try:
            async with self._upkeep.running(), self._supervisor:
                for kind, told in self._limited:
                    self._observer.log(logging.WARNING, told)
                    await self._upkeep.notice_of_run(kind, told)
                yield
        finally:
            await self._control.close()

    async def load_all(self) -> list[PartitionReport]:
        """Load all partitions, a few at a time."""
        places = asyncio.Semaphore(self._writer.partitions_in_flight)

        async def load_in_turn(number: int, partition: Partition) -> PartitionReport:
            async with places:
                report = await PartitionLoad(self._context, partition, self._spool_dir / str(number)).run()
                self._tallies[partition.key].done = True
                self._observer.finished(report)
                return report

        tasks = [asyncio.create_task(load_in_turn(*numbered)) for numbered in enumerate(self._partitions)]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
<<<<<<< HEAD

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
                verdict = await self._write_and_publish(begun, partition, manifest)
                error = verdict.error
                await async_failpoint(Place.AFTER_PUBLISH, partition=partition.key)
            except (DeadLetterBudgetSpent, DiscrepancyFound, TargetMismatch) as refusal:
                await reject_load(self._control, begun.handle, str(refusal))
                error = refusal
            if isinstance(error, DeadLetterBudgetSpent):
                await self._upkeep.notice_of_run(IncidentKind.DEAD_LETTER_BUDGET, str(error))
        except asyncpg.PostgresError as refusal:  # its own text may quote a row
            error = DatabaseUnavailable(f"partition {partition.key}: the server refused: {summarize(refusal)}")
        except Exception as failure:  # noqa: BLE001 - one partition's failure must not end its neighbours; it is reported
            error = failure
        return await self._report(partition, begun, verdict, error, time.monotonic() - started)

    async def _plan(self, partition: Partition) -> Manifest:
        """The manifest, planned in a thread: it reads files, and leases must be kept meanwhile."""

        def plan() -> Manifest:
            failpoint(Place.IN_PLANNING, partition=partition.key)
            scope = Scope(self._landing_dir, self._landing_dir, self._writer.chunk_rows_max)
            return Manifest.of(list(self._spec.source.chunks(partition, scope)))

        try:
            manifest = await in_thread(plan, timeout_s=self._writer.planning_timeout_s)
        except TimeoutError:
            raise SourceError(
                f"table {self._spec.name}, partition {partition.key}: the source could not be planned within "
                f"{self._writer.planning_timeout_s:g} s (planning_timeout_s); see whether its files can be read, then rerun"
            ) from None
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
            holder=self._holder,
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

    async def _write_and_publish(self, begun: BegunLoad, partition: Partition, manifest: Manifest) -> Verdict:
        """Have every pending chunk committed, those too whose commit a crash of the server has undone; then finish."""
        allowed = self._spec.dead_letters.allowed_rows(manifest.enqueued_rows)
        load = FinishedLoad(self._spec, self._target, partition, manifest, begun.handle)
        pending: Sequence[ChunkPlan] = begun.pending
        for _ in range(_ROUNDS_MAX):
            await self._commit_all(begun.handle, partition, pending, allowed)
            finished = await finish_load(self._control, load, self._writer, self._say)
            if isinstance(finished, Verdict):
                tally, totals = self._tallies[partition.key], finished.totals
                tally.written_rows, tally.dead_lettered_rows = totals.written_rows, totals.dead_lettered_rows
                return finished
            pending = finished
            self._say(
                f"partition {partition.key}: a crash or somebody's hand left {len(pending)} chunks to write; again"
            )
            await self._recount(begun.handle, partition)
        raise DiscrepancyFound(
            f"table {self._spec.name}, partition {partition.key}: {len(pending)} chunks are pending in the ledger though "
            f"they were reported as committed, or the staging table's key is gone, {_ROUNDS_MAX} times over"
        )

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
            raise _as_error(outcome, self._spec.name, partition.key, chunk.chunk_no)
        assert not isinstance(outcome, Probed | Replayed)  # noqa: S101 - neither was asked for
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


def _as_error(outcome: Failed, table: str, partition_key: str, chunk_no: int) -> RowledgerError:
    """A worker's failure as the error its reader acts on."""
    text = f"table {table}, partition {partition_key}, chunk {chunk_no}: {outcome.summary}"
    match outcome.failure:
        case FailureKind.FENCED:
            return Fenced(text)
        case FailureKind.SOURCE:
            return SourceError(text)
        case FailureKind.BUDGET:
            return DeadLetterBudgetSpent(text)
        case FailureKind.TRANSIENT | FailureKind.CONNECTION_LOST | FailureKind.TIMED_OUT:
            return DatabaseUnavailable(f"{text} (after {outcome.retries} retries); a rerun resumes at this chunk")
        case FailureKind.FATAL:
            return ChunkFailed(
                f"{text}; a rerun resumes at this chunk",
                partition_key=partition_key,
                chunk_no=chunk_no,
                worker_traceback=outcome.traceback,
            )
=======
>>>>>>> main
