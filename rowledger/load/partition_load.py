"""The load of one partition: plan, begin, commit its chunks, reconcile, publish, and report the result."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import asyncpg

from rowledger.chunk import PlanJob
from rowledger.contract import Contract
from rowledger.counted import counted
from rowledger.errors import (
    DatabaseUnavailable,
    DeadLetterBudgetSpent,
    DiscrepancyFound,
    RowledgerError,
    SourceError,
    TargetMismatch,
)
from rowledger.failpoints import Place, async_failpoint
from rowledger.ledger import (
    BroughtColumns,
    ChunkState,
    Incident,
    IncidentKind,
    PartitionReport,
    RefusalCause,
    read_chunk_totals,
    record_spooled_chunk,
    seal_load,
)
from rowledger.load.begin import Beginning, BegunLoad
from rowledger.load.budget_explanation import read_refusals
from rowledger.load.coming_chunks import chunks_as_they_come
from rowledger.load.committing import ChunkCommits, Committing
from rowledger.load.production import is_read_at_once
from rowledger.load.rejection import forget_failures, record_failure, reject_load
from rowledger.load.run_context import RunContext
from rowledger.load.source_columns import source_names, with_brought_columns
from rowledger.machine import in_thread
from rowledger.postgres import Target, align_staging, summarize
from rowledger.publish import FinishContext, LoadVerdict, find_repeated, finish_load
from rowledger.settings import settings
from rowledger.spec import (
    ChunkPlan,
    LoadHandle,
    Manifest,
    Partition,
    SourceContext,
    TypeName,
    WriteMode,
)

__all__ = ["PartitionLoad"]

_ROUNDS_MAX = 3  # rounds in a row without progress, when committing what a server crash has undone
_LOOK_S = 5.0  # for the sizes of files; on a mount that is dead the source is left to the process that reads it
_EXACT_NUMBERS = {TypeName.NUMERIC, TypeName.JSONB}  # these hold more digits than a double


class PartitionLoad:
    """The load of one partition. Its errors end in its report, and do not affect other partitions."""

    def __init__(self, run: RunContext, partition: Partition, spool_dir: Path) -> None:
        self._run = run
        self._spec = run.request.spec
        self._target = run.target
        self._partition = partition
        self._name = run.name_of(partition)
        self._progress = run.progress[partition.key]
        self._spool_dir = spool_dir
        self._begun: BegunLoad | None = None
        self._verdict: LoadVerdict | None = None
        self._refusals: tuple[RefusalCause, ...] = ()
        self._commits = ChunkCommits(run, partition)

    async def run(self) -> PartitionReport:
        """Load the partition, and report the result."""
        started = time.monotonic()
        error: Exception | None = None
        try:
            try:
                # In a task of its own: a chunk that fails leaves a cancel counted in the task that waits for its group (Python
                # before 3.13), and the next lost connection here, or in the next partition, would be taken for a cancel.
                self._verdict = await asyncio.create_task(self._load())
                error = self._verdict.error
                await async_failpoint(Place.AFTER_PUBLISH, partition=self._partition.key)
            except (DeadLetterBudgetSpent, DiscrepancyFound, TargetMismatch) as refusal:
                error = refusal
            if isinstance(error, DeadLetterBudgetSpent | DiscrepancyFound | TargetMismatch):
                error = await self._reject(error)
        except asyncpg.PostgresError as refusal:  # the server's text may quote a row
            error = DatabaseUnavailable(f"{self._name}: the server refused: {summarize(refusal)}")
        except Exception as failure:  # noqa: BLE001 - one partition's failure must not end the others; it is reported
            error = failure
        if isinstance(error, SourceError) and error.source_traceback:
            self._run.request.observer.log(logging.ERROR, f"{self._name}:\n{error.source_traceback}")
        await self._record(error)
        return self._report(error, time.monotonic() - started)

    async def _reject(self, refusal: RowledgerError) -> RowledgerError:
        """Record the refusal in the ledger, with the dead letters of chunks that were not written, which are not lost then."""
        if self._begun is None:
            return refusal
        told, self._refusals, kept = await reject_load(
            self._run.sessions, self._spec, self._partition.key, self._begun.handle, refusal
        )
        self._progress.committed = replace(self._progress.committed, dead_lettered_rows=kept)
        if isinstance(told, DeadLetterBudgetSpent):
            incident = Incident.of_run(IncidentKind.DEAD_LETTER_BUDGET, str(told), partition_key=self._partition.key)
            await self._run.incidents.record_of_load(incident, self._begun.handle.load_id)
            for cause in self._refusals:
                self._run.request.observer.log(logging.ERROR, f"{self._name}: refused ({cause.stage}): {cause}")
        return told

    async def _record(self, error: Exception | None) -> None:
        """Record how the attempt ended, where no load in the ledger shows it."""
        run, spec, key = self._run, self._spec, self._partition.key
        handle = self._begun.handle if self._begun else None
        if error is not None:
            told = await record_failure(run.sessions, spec, key, handle, run_id=run.request.run_id, error=error)
        elif spec.write_mode is WriteMode.APPEND:
            told = await forget_failures(run.sessions, spec, key)
        else:
            return
        if told is not None:
            run.request.observer.log(logging.WARNING, f"{self._name}: {told}")

    async def _load(self) -> LoadVerdict:
        self._spool_dir.mkdir(mode=0o700)
        if self._spec.source.is_streamed and not await self._is_read_at_once():
            return await self._finish(await self._load_as_it_comes(), pending=())
        manifest = await self._plan()
        repeated = await find_repeated(
            self._run.sessions,
            self._spec,
            self._target,
            self._partition,
            manifest,
            run_id=self._run.request.run_id,
        )
        if repeated is not None:
            self._say(f"{self._name}: {repeated.note}")
            self._progress.set(repeated.totals)
            return repeated
        begun = await self._begin(manifest)
        return await self._finish(manifest, begun.pending)

    # ---- sources that are planned before they are loaded, small files of text among them

    async def _is_read_at_once(self) -> bool:
        look = partial(is_read_at_once, self._spec, self._partition, self._run.request.landing_dir)
        try:
            return await in_thread(look, timeout_s=_LOOK_S)
        except Exception:  # noqa: BLE001 - the process that reads the source says what is wrong with it
            return False

    async def _plan(self) -> Manifest:
        """The manifest, planned by a worker: it holds the libraries that read files, and is guarded."""
        await async_failpoint(Place.IN_PLANNING, partition=self._partition.key)
        planned = await self._run.pool.plan(PlanJob(self._partition, self._scope()))
        manifest = Manifest.of(planned.chunks)
        self._progress.enqueued_rows, self._progress.chunks = manifest.enqueued_rows, len(manifest.chunks)
        self._target = await self._with_brought(planned.brought)
        return manifest

    # ---- sources that are loaded while they still produce

    async def _load_as_it_comes(self) -> Manifest:
        """Have each chunk committed as soon as it is spooled; returns the complete manifest once the source has ended."""
        begun = await self._begin(None)
        chunks: list[ChunkPlan] = []
        allowed = self._spec.dead_letters.rows_max  # how many rows the share allows is not known yet
        coming = chunks_as_they_come(self._run, self._partition, begun.handle, self._scope())
        async with coming as produced, Committing() as committing:
            async for coming_chunk in produced:
                await async_failpoint(Place.BEFORE_RECORD, partition=self._partition.key, chunk=len(chunks))
                target = await self._with_brought(coming_chunk.brought)
                if target is not self._target:
                    self._target = target
                    await self._align_staging(begun)
                chunk = ChunkPlan(len(chunks), self._progress.enqueued_rows, coming_chunk.descriptor)
                chunks.append(chunk)
                self._progress.enqueued_rows += chunk.rows
                self._progress.chunks += 1
                match await self._record_chunk(begun, chunk):
                    case ChunkState.PENDING:
                        committing.start(self._commit(begun, chunk, allowed))
                    case ChunkState.COMMITTED:
                        pass
                    case None:
                        await committing.cancel()
                        begun = await self._start_over(begun, chunks)
                        for again in chunks:
                            committing.start(self._commit(begun, again, allowed))
        manifest = Manifest(tuple(chunks))
        await async_failpoint(Place.BEFORE_SEAL, partition=self._partition.key)
        if not await self._seal(begun, manifest):
            begun = await self._start_over(begun, chunks)
            await self._commits.commit_all(begun.handle, chunks, self._target.columns, allowed)
            await self._seal(begun, manifest)
        return manifest

    async def _commit(self, begun: BegunLoad, chunk: ChunkPlan, allowed: int) -> None:
        await self._commits.commit(begun.handle, chunk, self._target.columns, allowed)

    async def _record_chunk(self, begun: BegunLoad, chunk: ChunkPlan) -> ChunkState | None:
        """Record the chunk in the ledger and return its state; None if the ledger has a different chunk under its number."""
        return await self._run.sessions.transaction(
            f"{self._name}: record chunk {chunk.chunk_no}",
            lambda connection: record_spooled_chunk(connection, begun.handle, chunk),
        )

    async def _seal(self, begun: BegunLoad, manifest: Manifest) -> bool:
        """Complete the manifest in the ledger; False when the ledger does not have exactly these chunks."""
        return await self._run.sessions.transaction(
            f"{self._name}: seal the manifest",
            lambda connection: seal_load(connection, begun.handle, manifest),
            durable=True,
        )

    async def _start_over(self, begun: BegunLoad, chunks: Sequence[ChunkPlan]) -> BegunLoad:
        """Begin a new load in place of one whose chunks are not those that the source gives now."""
        self._say(f"{self._name}: the source gives other rows than for load {begun.handle.load_id}; a new load begins")
        self._begun = again = await self._beginning(None).start_over(begun.handle)
        self._progress.reset()
        for chunk in chunks:
            await self._record_chunk(again, chunk)
        return again

    # ---- both

    async def _with_brought(self, files: Sequence[BroughtColumns]) -> Target:
        return await with_brought_columns(self._run, self._partition, files, self._target)

    async def _align_staging(self, begun: BegunLoad) -> None:
        await self._run.sessions.transaction(
            f"{self._name}: align the staging table",
            lambda connection: align_staging(connection, self._target, begun.handle),
        )

    def _beginning(self, manifest: Manifest | None) -> Beginning:
        return Beginning(self._run, self._target, self._partition, manifest)

    async def _begin(self, manifest: Manifest | None) -> BegunLoad:
        self._begun = begun = await self._beginning(manifest).begin(self._say)
        if begun.resumed:
            self._say(f"{self._name}: resuming load {begun.handle.load_id}")
            await self._recount(begun.handle)
            if manifest is not None:
                done = len(manifest.chunks) - len(begun.pending)
                self._say(f"{self._name}: {done} of {len(manifest.chunks)} chunks were committed")
        return begun

    async def _recount(self, handle: LoadHandle) -> None:
        """Set the progress from the ledger."""
        totals = await self._run.sessions.transaction(
            "read progress", lambda connection: read_chunk_totals(connection, handle.load_id)
        )
        self._progress.set(totals)

    async def _finish(self, manifest: Manifest, pending: Sequence[ChunkPlan]) -> LoadVerdict:
        """Have every pending chunk committed, including those whose commit a server crash has undone; then publish."""
        allowed = self._spec.dead_letters.allowed_rows(manifest.enqueued_rows)
        begun = self._begun
        assert begun is not None  # noqa: S101 - what has not begun cannot finish
        load = FinishContext(
            self._spec,
            self._target,
            self._partition,
            manifest,
            begun.handle,
            self._run.old_snapshots,
            self._run.request.writer,
            self._say,
        )
        fewest, in_vain = len(manifest.chunks), 0
        while in_vain < _ROUNDS_MAX:
            await self._commits.commit_all(begun.handle, pending, self._target.columns, allowed)
            finished = await finish_load(self._run.sessions, load)
            if isinstance(finished, LoadVerdict):
                self._progress.set(finished.totals)
                if finished.totals.counts.dead_lettered_rows:
                    self._refusals = await self._run.sessions.transaction(
                        "read why rows were refused",
                        lambda connection: read_refusals(connection, begun.handle.load_id, self._partition.key),
                    )
                return finished
            pending = finished
            in_vain = 0 if len(pending) < fewest else in_vain + 1
            fewest = min(fewest, len(pending))
            self._say(
                f"{self._name}: a crash, or a change by hand, left {counted(len(pending), 'chunk')} to write again"
            )
            await self._recount(begun.handle)
        raise DiscrepancyFound(
            f"{self._name}: {counted(len(pending), 'chunk')} {'is' if len(pending) == 1 else 'are'} pending "
            "in the ledger though reported as committed, or the "
            f"staging table's key is gone, {_ROUNDS_MAX} times over and no fewer than before"
        )

    def _scope(self) -> SourceContext:
        columns, rows = self._target.columns, self._run.request.rows
        contract = Contract.of(self._spec.row)
        documents = None if self._spec.transform else contract.documents
        return SourceContext(
            landing_dir=self._run.request.landing_dir,
            spool_dir=self._spool_dir,
            chunk_rows_max=self._run.request.writer.chunk_rows_max,
            columns=source_names(contract, columns),
            exact_numbers=any(column.type.name in _EXACT_NUMBERS for column in columns),
            documents=documents,
            numbers_apart=contract.numbers_apart,
            disk_free_min_bytes=settings().disk_free_min_bytes,
            rows=None if rows is None else partial(rows, self._partition),
        )

    def _report(self, error: Exception | None, seconds: float) -> PartitionReport:
        progress, begun = self._progress, self._begun
        return PartitionReport(
            table=self._spec.name,
            partition_key=self._partition.key,
            load_id=begun.handle.load_id if begun else None,
            counts=progress.counts,
            discarded_values=progress.discarded_values,
            chunks=progress.chunks,
            retries=progress.retries,
            seconds=seconds,
            peak_rss_bytes=self._run.pool.peak_rss_bytes,
            resumed=begun.resumed if begun else False,
            checks=self._verdict.checks if self._verdict else (),
            incidents=tuple(progress.incidents),
            error=error,
            refusals=self._refusals,
        )

    def _say(self, message: str) -> None:
        self._run.request.observer.log(logging.INFO, message)
