"""The one place that owns a chunk's transaction: fence, claim, COPY, dead letters, counts, COMMIT.

Everything it calls takes the connection and never commits. Nothing here depends on the machine it runs on: a descriptor
comes in, an outcome goes out, the ledger decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import asyncpg
import polars as pl

from pipeline.contract.explain import row_payloads
from pipeline.contract.fingerprint import fingerprint_frame
from pipeline.contract.row_types import write_row_types
from pipeline.errors import ChunkFailed, DeadLetterBudgetSpent, Fenced
from pipeline.failpoints import Place, failpoint
from pipeline.model.column import Column
from pipeline.model.manifest import ChunkPlan
from pipeline.model.outcome import AlreadyCommitted, Committed, Probed
from pipeline.model.partition import Partition
from pipeline.model.report import DeadLetter, Stage
from pipeline.model.table import TableSpec
from pipeline.postgres.catalogue import LEDGER_SCHEMA
from pipeline.postgres.copy import EncodedRows, copy_rows, encode_rows
from pipeline.postgres.ledger import (
    LoadHandle,
    claim_chunk,
    fence_load,
    forget_dead_letters,
    read_committed_chunk,
    record_chunk,
    record_dead_letters,
)
from pipeline.postgres.session import Session
from pipeline.postgres.sqlstate import Verdict, copy_location, sort_error, summarize
from pipeline.preparation.rows import PreparedRows, prepare_rows
from pipeline.settings import WriterSettings

__all__ = ["ChunkJob", "PreparedChunk", "SetAside", "commit_chunk", "prepare_chunk"]

_WINDOW_AFTER_REFUSAL = 1_024


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that nobody may touch any more, since it kills its worker; `row_no` counts in the partition."""

    row_no: int
    reason: str


@dataclass(frozen=True, slots=True)
class ChunkJob:
    """One attempt at one chunk, into these columns of the table. `dead_letters_max` is what the whole partition may have.

    Rows in `set_aside` become dead letters untried. A `probe` tries the rows [first, stop) alone, by their number in the
    partition, and commits nothing.
    """

    handle: LoadHandle
    partition: Partition
    chunk: ChunkPlan
    columns: tuple[Column, ...]
    attempt: int
    dead_letters_max: int
    set_aside: tuple[SetAside, ...] = ()
    probe: tuple[int, int] | None = None

    @property
    def row_nos(self) -> Sequence[int]:
        """The rows to write, by their number in the partition."""
        first = self.chunk.first_row
        rows = range(*self.probe) if self.probe else range(first, first + self.chunk.rows)
        if not self.set_aside:
            return rows
        aside = {row.row_no for row in self.set_aside}
        return [row_no for row_no in rows if row_no not in aside]

    @property
    def name(self) -> str:
        """For the log."""
        return f"partition {self.partition.key}, chunk {self.chunk.chunk_no}"

    @property
    def facts(self) -> dict[str, object]:
        """What failpoints can ask for."""
        return {"partition": self.partition.key, "chunk": self.chunk.chunk_no, "attempt": self.attempt}


@dataclass(frozen=True)
class PreparedChunk:
    """A chunk read, checked and encoded: all that can be done before the transaction begins.

    `crashed` are the dead letters of rows that were set aside untried.
    """

    rows: PreparedRows
    crashed: list[DeadLetter]
    encoded: EncodedRows
    source_types: pl.Schema

    @property
    def good(self) -> pl.DataFrame:
        """The rows that go to COPY, in the table's types."""
        return self.rows.good

    @property
    def rejected(self) -> list[DeadLetter]:
        """The rows that do not even get to COPY."""
        return [*self.crashed, *self.rows.rejected]


@dataclass(slots=True)
class _Copied:
    """What COPY made of the good rows: offsets into them that the server refused, and their dead letters."""

    refused: list[int] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)


def prepare_chunk(
    spec: TableSpec,
    job: ChunkJob,
    settings: WriterSettings,
    on_progress: Callable[[int], None],
) -> PreparedChunk:
    """Read the chunk's rows again from the source, run them through transform and contract, encode the good ones."""
    source = spec.source.read(job.chunk.descriptor)
    on_progress(source.height)
    tried, row_nos = _rows_to_try(source, job)
    failpoint(Place.WHILE_ENCODING, **job.facts, row=row_nos)
    rows = prepare_rows(spec, job.columns, tried, row_nos, job.partition, dead_letters_max=job.dead_letters_max)
    encoded = encode_rows(rows.good, job.columns, settings.batch_rows, on_progress)
    return PreparedChunk(rows, _crash_letters(source, job), encoded, source.schema)


def _rows_to_try(source: pl.DataFrame, job: ChunkJob) -> tuple[pl.DataFrame, Sequence[int]]:
    """The rows of the chunk that this job is about, and their numbers."""
    row_nos = job.row_nos
    first = job.chunk.first_row
    if isinstance(row_nos, range):
        return source.slice(row_nos.start - first, len(row_nos)), row_nos
    return source[[row_no - first for row_no in row_nos]], row_nos


def _crash_letters(source: pl.DataFrame, job: ChunkJob) -> list[DeadLetter]:
    payloads = row_payloads(source[[row.row_no - job.chunk.first_row for row in job.set_aside]])
    return [
        DeadLetter(row_no=row.row_no, stage=Stage.CRASH, reason=row.reason, payload=payload)
        for row, payload in zip(job.set_aside, payloads, strict=True)
    ]


async def commit_chunk(
    session: Session,
    prepared: PreparedChunk,
    job: ChunkJob,
    settings: WriterSettings,
    *,
    worker_pid: int,
    on_progress: Callable[[int], None],
) -> Committed | AlreadyCommitted | Probed:
    """Write the chunk once, whatever happened to earlier attempts; raises Fenced when the load is not ours any more.

    A probe goes the same way, up to where it would write counts, and rolls back.

    Whoever calls sees to the deadline and to the connection: after any error it is of no more use.
    """
    connection = session.connection
    failpoint(Place.BEFORE_BEGIN, **job.facts)
    # synchronous_commit may be off: rows and ledger entry vanish together, and publishing commits synchronously.
    await connection.execute(
        "begin;"
        f"set local statement_timeout = '{int(settings.statement_timeout_s * 1000)}ms';"
        f"set local lock_timeout = '{int(settings.lock_timeout_s * 1000)}ms';"
        f"set local idle_in_transaction_session_timeout = '{int(settings.stall_timeout_s * 1000)}ms';"
        "set local synchronous_commit = off"
    )
    if not await fence_load(connection, job.handle):
        await connection.execute("rollback")
        raise Fenced(f"load {job.handle.load_id}, epoch {job.handle.epoch}: another run has taken it over")
    enqueued = await claim_chunk(connection, job.handle, job.chunk.chunk_no, job.attempt, worker_pid)
    if enqueued is None:
        counts = await read_committed_chunk(connection, job.handle, job.chunk.chunk_no)
        await connection.execute("rollback")
        if counts is None:
            raise ChunkFailed(f"load {job.handle.load_id} has no chunk {job.chunk.chunk_no} in the ledger")
        return counts
    failpoint(Place.AFTER_CLAIM, **job.facts)
    await forget_dead_letters(connection, job.handle, job.chunk.chunk_no)

    copied = await _copy_isolating(connection, prepared, job, settings, on_progress)
    written = _without(prepared.good, copied.refused)
    fingerprint = fingerprint_frame(written, job.columns).to_json() if settings.fingerprint else None
    if job.probe is not None:
        await connection.execute("rollback")
        return Probed()
    letters = [*prepared.rejected, *copied.letters]
    if len(letters) > job.dead_letters_max:
        await _keep_what_was_learned(connection, job, letters, worker_pid)
    await record_dead_letters(connection, job.handle, job.chunk, letters, attempt=job.attempt, worker_pid=worker_pid)
    committed = Committed(
        written_rows=written.height,
        dead_lettered_rows=len(letters),
        filtered_rows=prepared.rows.filtered_rows,
        added_rows=prepared.rows.added_rows,
        discarded_values=prepared.rows.discarded_values,
    )
    row_types = write_row_types(prepared.source_types) if letters else None
    if not await record_chunk(
        connection, job.handle, job.chunk.chunk_no, committed, fingerprint=fingerprint, row_types=row_types
    ):
        raise ChunkFailed(
            f"chunk {job.chunk.chunk_no}: {enqueued} rows enqueued and {committed.added_rows} added, but {written.height} "
            f"written, {len(letters)} dead-lettered and {committed.filtered_rows} filtered"
        )
    failpoint(Place.BEFORE_COMMIT, **job.facts)
    await connection.execute("commit")
    failpoint(Place.AFTER_COMMIT, **job.facts)
    return committed


async def _copy_isolating(
    connection: asyncpg.Connection,
    prepared: PreparedChunk,
    job: ChunkJob,
    settings: WriterSettings,
    on_progress: Callable[[int], None],
) -> _Copied:
    """COPY all good rows but those the server refuses.

    Binary COPY names the row it failed at. The rows before it are copied again, it is set aside, and we go on behind it
    in a smaller window, so that a chunk full of refusals costs work in proportion to its rows, not to their square.
    """
    copied = _Copied()
    total = prepared.good.height
    position, window = 0, total
    refusal: asyncpg.PostgresError | None = None  # of the row at `bad`
    bad = total

    def on_sent(sent_bytes: int) -> None:
        on_progress(sent_bytes)
        failpoint(Place.MID_COPY, **job.facts)

    while position < total and len(prepared.rejected) + len(copied.letters) <= job.dead_letters_max:
        if refusal is not None and position == bad:
            _refuse(copied, prepared, position, refusal)
            position, window, bad, refusal = position + 1, _WINDOW_AFTER_REFUSAL, total, None
            continue
        stop = min(total, position + window, bad)
        whole = position == 0 and stop == total
        rows = (
            prepared.encoded if whole else encode_rows(prepared.good[position:stop], job.columns, settings.batch_rows)
        )
        await connection.execute("savepoint rows_sent")
        try:
            await copy_rows(
                connection,
                rows,
                schema_name=LEDGER_SCHEMA,
                table_name=job.handle.staging_table,
                columns=job.columns,
                on_sent=on_sent,
            )
        except asyncpg.PostgresError as error:
            if sort_error(error) is not Verdict.ISOLATE:
                raise
            await connection.execute("rollback to savepoint rows_sent")
            line = copy_location(error).line
            if line is not None and 1 <= line <= stop - position:
                bad, refusal = position + line - 1, error
            elif stop - position == 1:
                bad, refusal = position, error
            else:
                window = (stop - position) // 2  # no line number: halve until one row is left
        else:
            position, window = stop, max(window, 1) * 4
    return copied


def _refuse(copied: _Copied, prepared: PreparedChunk, offset: int, error: asyncpg.PostgresError) -> None:
    """Set one row aside, with the row as the source gave it."""
    copied.refused.append(offset)
    copied.letters.append(
        prepared.rows.refusal(
            offset,
            stage=Stage.COPY,
            reason=f"refused by the server: {summarize(error)}",
            column=copy_location(error).column or getattr(error, "column_name", None),
            sqlstate=error.sqlstate,
            constraint=getattr(error, "constraint_name", None),
        )
    )


async def _keep_what_was_learned(
    connection: asyncpg.Connection, job: ChunkJob, letters: Sequence[DeadLetter], worker_pid: int
) -> NoReturn:
    """The budget is spent and the load will be rejected: write none of the chunk's rows, but keep why they were refused."""
    await connection.execute("rollback; begin")
    if await fence_load(connection, job.handle):
        await forget_dead_letters(connection, job.handle, job.chunk.chunk_no)
        await record_dead_letters(
            connection, job.handle, job.chunk, letters, attempt=job.attempt, worker_pid=worker_pid
        )
    await connection.execute("commit")
    raise DeadLetterBudgetSpent(
        f"partition {job.partition.key}, chunk {job.chunk.chunk_no}: {len(letters)} rows refused so far, "
        f"the partition's budget is {job.dead_letters_max}"
    )


def _without(frame: pl.DataFrame, offsets: Sequence[int]) -> pl.DataFrame:
    if not offsets:
        return frame
    keep = pl.repeat(True, frame.height, eager=True).scatter(offsets, False)  # noqa: FBT003 - polars' signature
    return frame.filter(keep)
