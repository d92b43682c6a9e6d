"""The only module that owns a chunk's transaction: fence, claim, COPY, dead letters, counts, COMMIT.

Every function that it calls takes the connection and never commits. Nothing here depends on the machine: a descriptor comes
in, an outcome goes out, and the ledger decides.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

import asyncpg
import polars as pl

from rowledger.chunk.copy_isolation import copy_isolating, rows_without
from rowledger.chunk.jobs import ChunkJob
from rowledger.chunk.preparation import PreparedRows, prepare_rows, without_faults
from rowledger.contract import (
    Contract,
    DeadLetter,
    Refusal,
    Stage,
    fingerprint_frame,
    payloads_of,
    write_row_types,
)
from rowledger.counted import counted
from rowledger.errors import ChunkFailed, DeadLetterBudgetSpent, Fenced, SourceError
from rowledger.failpoints import Place, failpoint
from rowledger.ledger import (
    AlreadyCommitted,
    Committed,
    Probed,
    RowCounts,
    claim_chunk,
    fence_load,
    forget_dead_letters,
    read_committed_chunk,
    record_chunk,
    record_dead_letters,
)
from rowledger.machine import ProcessIdentity
from rowledger.postgres import EncodedRows, Session, begin, encode_rows, transaction_limits
from rowledger.settings import WriterSettings
from rowledger.sources import read_chunk
from rowledger.spec import TableSpec

__all__ = ["commit_chunk", "prepare_chunk"]


@dataclass(frozen=True)
class PreparedChunk:
    """A chunk read, checked and encoded, before the transaction begins.

    `rejected` are the dead letters of rows that do not reach COPY: those set aside untried, and those that were refused.
    `source_types` are the columns as the source gives them. `texts` reads the rows again, if columns of text got other
    types in `rows`: a dead letter shows the text. `check_s` is the time of transform and contract, in seconds.
    """

    rows: PreparedRows
    rejected: list[DeadLetter]
    encoded: EncodedRows
    source_types: Callable[[], pl.Schema]
    texts: Callable[[], pl.DataFrame] | None
    check_s: float

    def refusals(self, causes: Mapping[int, Refusal]) -> list[DeadLetter]:
        """The dead letters of good rows that the server refused, for these causes by their offsets."""
        rows = self.rows
        if causes and self.texts is not None:
            rows = replace(rows, shown=without_faults(self.texts()))
        return rows.refusals(causes)


def prepare_chunk(
    spec: TableSpec,
    job: ChunkJob,
    settings: WriterSettings,
    on_progress: Callable[[int], None],
) -> PreparedChunk:
    """Read the chunk's rows from the source, run them through transform and contract, and encode the good ones."""

    def read() -> pl.DataFrame:
        return read_chunk(spec.source, job.chunk.descriptor)

    types = _types_of_texts(spec, job)
    found = spec.source.read_typed(job.chunk.descriptor, types) if types else None
    is_typed, source = found is not None, read() if found is None else found
    del found
    on_progress(source.height)
    failpoint(Place.WHILE_ENCODING, **job.facts, row=job.row_nos)
    started = time.perf_counter()
    rows = _prepare(spec, job, source, on_progress)
    if is_typed and any(letter.stage is not Stage.SOURCE for letter in rows.rejected):
        del source, rows  # memory is not for two frames
        source, is_typed = read(), False  # dead letters show the texts, and say why these are refused
        rows = _prepare(spec, job, source, on_progress)
    check_s = time.perf_counter() - started
    encoded = encode_rows(rows.good, job.columns, settings.batch_rows, on_progress)
    rejected = [*_crash_dead_letters(source, job), *rows.rejected]
    if not is_typed:
        return PreparedChunk(rows, rejected, encoded, lambda: source.schema, None, check_s)
    return PreparedChunk(rows, rejected, encoded, lambda: spec.source.frame_schema(job.chunk.descriptor), read, check_s)


def _types_of_texts(spec: TableSpec, job: ChunkJob) -> dict[str, pl.DataType]:
    """The types that columns of text may have while the chunk is prepared.

    After a failed attempt, and where single rows are tried or set aside, the chunk is read in the one way that works for all.
    """
    if spec.transform is not None or job.attempt > 1 or job.probe is not None or job.set_aside:
        return {}
    if job.chunk.descriptor.parts:
        return {}  # one file's texts may all be whole numbers, and those of the next not
    targets = {column.name: column.type for column in job.columns}
    return Contract.of(spec.row).types_of_texts(targets, spec.source)


def _prepare(spec: TableSpec, job: ChunkJob, source: pl.DataFrame, on_progress: Callable[[int], None]) -> PreparedRows:
    tried, row_nos = _rows_to_try(source, job)
    try:
        return prepare_rows(
            spec,
            job.columns,
            tried,
            row_nos,
            job.partition,
            dead_letters_max=job.dead_letters_max,
            on_progress=on_progress,
        )
    except SourceError as error:
        if not spec.source.columns_vary:
            raise
        raise SourceError(
            f"{job.chunk.descriptor.origin}: {error}"
        ) from None  # only here the file's columns are checked


def _rows_to_try(source: pl.DataFrame, job: ChunkJob) -> tuple[pl.DataFrame, Sequence[int]]:
    """The rows of the chunk that this job tries, and their numbers in the partition."""
    row_nos = job.row_nos
    first = job.chunk.first_row
    if isinstance(row_nos, range):
        if len(row_nos) == source.height:
            return source, row_nos  # a slice of a frame would copy its long texts
        return source.slice(row_nos.start - first, len(row_nos)), row_nos
    return source[[row_no - first for row_no in row_nos]], row_nos


def _crash_dead_letters(source: pl.DataFrame, job: ChunkJob) -> list[DeadLetter]:
    payloads = payloads_of(source[[row_no - job.chunk.first_row for row_no in job.set_aside]])
    return [
        DeadLetter(row_no=row_no, stage=Stage.CRASH, reason=reason, payload=payload)
        for (row_no, reason), payload in zip(job.set_aside.items(), payloads, strict=True)
    ]


async def commit_chunk(
    session: Session,
    prepared: PreparedChunk,
    job: ChunkJob,
    settings: WriterSettings,
    *,
    worker: ProcessIdentity,
    on_progress: Callable[[int], None],
) -> Committed | AlreadyCommitted | Probed:
    """Write the chunk exactly once, whatever happened to earlier attempts; raises Fenced if another run took the load over.

    A probe does the same up to the fingerprint, then rolls back.

    The caller sets the deadline, and closes the connection after any error.
    """
    connection = session.connection
    failpoint(Place.BEFORE_BEGIN, **job.facts)
    # COMMIT need not wait for the disk: a crash loses rows and ledger entry together, and publishing waits for all of them.
    limits = transaction_limits(settings, idle_timeout_s=settings.stall_timeout_s, durable=False)
    await begin(connection, limits)
    if not await fence_load(connection, job.handle):
        await connection.execute("rollback")
        raise Fenced(f"load {job.handle.load_id}, epoch {job.handle.epoch}: another run has taken it over")
    enqueued = await claim_chunk(connection, job.handle, job.chunk.chunk_no, job.attempt, worker)
    if enqueued is None:
        earlier = await read_committed_chunk(connection, job.handle, job.chunk.chunk_no)
        await connection.execute("rollback")
        if earlier is None:
            raise ChunkFailed(f"load {job.handle.load_id} has no chunk {job.chunk.chunk_no} in the ledger")
        return earlier
    failpoint(Place.AFTER_CLAIM, **job.facts)
    await forget_dead_letters(connection, job.handle, job.chunk.chunk_no)

    def on_sent(sent_bytes: int) -> None:
        on_progress(sent_bytes)
        failpoint(Place.MID_COPY, **job.facts)

    refused = await copy_isolating(
        connection,
        prepared.rows.good,
        prepared.encoded,
        row_nos=prepared.rows.row_nos,
        staging_table=job.handle.staging_table,
        columns=job.columns,
        batch_rows=settings.batch_rows,
        refusals_max=job.dead_letters_max - len(prepared.rejected),
        on_sent=on_sent,
    )
    written = rows_without(prepared.rows.good, refused)
    fingerprint = fingerprint_frame(written, job.columns, on_progress).to_json() if settings.fingerprint else None
    if job.probe is not None:
        await connection.execute("rollback")
        return Probed()
    letters = [*prepared.rejected, *prepared.refusals(refused)]
    if len(letters) > job.dead_letters_max:
        await _keep_what_was_learned(connection, job, letters, prepared.rows.rows_left_out, worker, limits)
    await record_dead_letters(connection, job.handle, job.chunk, letters, attempt=job.attempt, worker=worker)
    counts = prepared.rows.counts + RowCounts(
        enqueued_rows=enqueued, written_rows=written.height, dead_lettered_rows=len(letters)
    )
    committed = Committed(counts=counts, discarded_values=prepared.rows.discarded_values, check_s=prepared.check_s)
    row_types = write_row_types(prepared.source_types()) if letters else None
    if not await record_chunk(
        connection, job.handle, job.chunk.chunk_no, committed, fingerprint=fingerprint, row_types=row_types
    ):
        raise ChunkFailed(
            f"{counted(enqueued, 'row')} enqueued and {counts.added_rows} added, but {counts.written_rows} "
            f"written, {counts.dead_lettered_rows} dead-lettered and {counts.filtered_rows} filtered"
        )
    failpoint(Place.BEFORE_COMMIT, **job.facts)
    await connection.execute("commit")
    failpoint(Place.AFTER_COMMIT, **job.facts)
    return committed


async def _keep_what_was_learned(
    connection: asyncpg.Connection,
    job: ChunkJob,
    letters: Sequence[DeadLetter],
    rows_left_out: int,
    worker: ProcessIdentity,
    limits: str,
) -> NoReturn:
    """The budget is spent, so the load will be rejected: write none of the chunk's rows, but record the dead letters."""
    await connection.execute("rollback")
    await begin(connection, limits)
    if await fence_load(connection, job.handle):
        await forget_dead_letters(connection, job.handle, job.chunk.chunk_no)
        await record_dead_letters(connection, job.handle, job.chunk, letters, attempt=job.attempt, worker=worker)
    await connection.execute("commit")
    refused_rows = len(letters) + rows_left_out
    raise DeadLetterBudgetSpent(
        f"{counted(refused_rows, 'row')} refused, the partition may have {job.dead_letters_max}",
        refused_rows=refused_rows,
    )
