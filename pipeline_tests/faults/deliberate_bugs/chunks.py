"""Mistakes about a chunk: its transaction, its dead letters, its counts."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import polars as pl
from pydantic import BaseModel

from pipeline_tests.faults.deliberate_bugs.bug import bug, in_place_of
from rowledger.chunk import (
    ChunkJob,
    commit_chunk,
    prepare_chunk,
    transaction,
)
from rowledger.chunk.preparation import PreparedRows
from rowledger.chunk.transaction import PreparedChunk, _crash_dead_letters
from rowledger.chunk.transform import Transformed, transform_frame
from rowledger.contract import DeadLetter, Refusal
from rowledger.ledger import (
    AlreadyCommitted,
    Committed,
    Probed,
    forget_dead_letters,
    record_dead_letters,
)
from rowledger.machine import ProcessIdentity
from rowledger.postgres import EncodedRows, Session, copy_rows
from rowledger.settings import WriterSettings
from rowledger.spec import ChunkPlan, Column, FrameTransform, LoadHandle, TableSpec
from rowledger.workers.messages import Outcome, encode

_CHUNK_TESTS = "pipeline_tests/integration/chunk/test_chunk_transaction.py"
_SERVER_TESTS = "pipeline_tests/faults/test_server_resources.py"

_TRAILER = b"\xff\xff"  # of a binary COPY

Commit = Callable[[asyncpg.Connection], Awaitable[None]]


class _Connection:
    """A connection on which COMMIT is something else."""

    def __init__(self, connection: asyncpg.Connection, commit: Commit) -> None:
        self._connection = connection
        self._commit = commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, statement: str, *arguments: object) -> None:
        if statement == "commit":
            await self._commit(self._connection)
        else:
            await self._connection.execute(statement, *arguments)


def _commit_chunks_by(commit: Commit) -> None:
    @in_place_of(commit_chunk)
    async def commit_one(
        session: Session,
        prepared: PreparedChunk,
        job: ChunkJob,
        settings: WriterSettings,
        *,
        worker: ProcessIdentity,
        on_progress: Callable[[int], None],
    ) -> Committed | AlreadyCommitted | Probed:
        session = replace(session, connection=_Connection(session.connection, commit))
        return await commit_chunk(session, prepared, job, settings, worker=worker, on_progress=on_progress)


# ---- COMMIT ----------------------------------------------------------------------------------------------------------


@bug(
    test=f"{_SERVER_TESTS}::test_a_commit_that_the_server_refuses_is_nothing_to_report",
    noticed=", (), None) == (2, (), None)",
)
def counts_reported_before_commit() -> None:
    """The counts are known before COMMIT, so they can be reported while it is on its way."""
    uncommitted: list[asyncpg.Connection] = []
    commits: list[asyncio.Task[None]] = []

    async def leave(connection: asyncpg.Connection) -> None:
        uncommitted.append(connection)

    _commit_chunks_by(leave)

    @in_place_of(encode)
    def encode_and_commit(message: BaseModel) -> bytes:
        if isinstance(message, Outcome) and uncommitted:
            commits.append(asyncio.create_task(uncommitted.pop().execute("commit")))
        return encode(message)


@bug(
    test=f"{_CHUNK_TESTS}::test_a_spent_budget_keeps_the_dead_letters_and_none_of_the_rows",
    noticed="assert (0, 0) == (0, 2)",
)
def commit_forgotten() -> None:
    """The connection will commit when it is closed."""

    async def forget(connection: asyncpg.Connection) -> None:
        return

    _commit_chunks_by(forget)


@bug(
    test="pipeline_tests/integration/sources/test_typed_texts.py::"
    "test_rows_and_dead_letters_are_those_of_a_chunk_of_texts[refused by the server]",
    noticed="assert",
)
def dead_letters_of_typed_values() -> None:
    """A dead letter of a row that the server refuses shows the values that were made of its texts."""

    @in_place_of(PreparedChunk.refusals)
    def refusals(self: PreparedChunk, causes: Mapping[int, Refusal]) -> list[DeadLetter]:
        return self.rows.refusals(causes)


# ---- tries -----------------------------------------------------------------------------------------------------------


@bug(
    test=f"{_SERVER_TESTS}::test_a_conflict_that_passes_costs_retries_and_no_row[40001-chunk-new.fingerprint is not null]",
    noticed="the server answered 'COPY 0'",
)
def retry_with_a_consumed_reader() -> None:
    """The rows are encoded once and sent again by the next try."""
    prepared: dict[str, PreparedChunk] = {}
    consumed: list[EncodedRows] = []

    @in_place_of(prepare_chunk)
    def prepare_once(
        spec: TableSpec, job: ChunkJob, settings: WriterSettings, on_progress: Callable[[int], None]
    ) -> PreparedChunk:
        if job.name not in prepared:
            prepared[job.name] = prepare_chunk(spec, job, settings, on_progress)
        return prepared[job.name]

    @in_place_of(copy_rows)
    async def consume(
        connection: asyncpg.Connection,
        encoded: EncodedRows,
        *,
        schema_name: str,
        table_name: str,
        columns: Sequence[Column],
        on_sent: Callable[[int], None],
    ) -> None:
        is_consumed = any(encoded is earlier for earlier in consumed)
        consumed.append(encoded)
        await copy_rows(
            connection,
            replace(encoded, pieces=(encoded.pieces[0], _TRAILER)) if is_consumed else encoded,
            schema_name=schema_name,
            table_name=table_name,
            columns=columns,
            on_sent=on_sent,
        )


# ---- dead letters ----------------------------------------------------------------------------------------------------


@bug(
    test=f"{_CHUNK_TESTS}::test_a_failed_attempt_leaves_neither_rows_nor_dead_letters",
    noticed="assert (0, 2) == (0, 0)",
)
def dead_letters_on_a_connection_of_their_own() -> None:
    """Dead letters have a connection of their own, so that they survive whatever becomes of the chunk."""

    @in_place_of(record_dead_letters, within=transaction)
    async def record(
        connection: asyncpg.Connection,
        handle: LoadHandle,
        chunk: ChunkPlan,
        letters: Sequence[DeadLetter],
        *,
        attempt: int,
        worker: ProcessIdentity,
    ) -> None:
        (host, port), login = connection._addr, connection._params
        own = await asyncpg.connect(
            host=host, port=port, user=login.user, password=login.password, database=login.database
        )
        await record_dead_letters(own, handle, chunk, letters, attempt=attempt, worker=worker)
        await own.close()


@bug(
    test=f"{_CHUNK_TESTS}::test_a_chunk_whose_dead_letters_cannot_be_kept_is_not_committed",
    noticed="assert (98, 0) == (0, 0)",
)
def dead_letters_after_commit() -> None:
    """Good rows first; the dead letters are kept once those are safe."""
    waiting: list[Callable[[], Awaitable[None]]] = []

    @in_place_of(record_dead_letters, within=transaction)
    async def record_later(
        connection: asyncpg.Connection,
        handle: LoadHandle,
        chunk: ChunkPlan,
        letters: Sequence[DeadLetter],
        *,
        attempt: int,
        worker: ProcessIdentity,
    ) -> None:
        waiting.append(lambda: record_dead_letters(connection, handle, chunk, letters, attempt=attempt, worker=worker))

    async def commit_and_record(connection: asyncpg.Connection) -> None:
        await connection.execute("commit")
        while waiting:
            await waiting.pop()()

    _commit_chunks_by(commit_and_record)


@bug(
    test=f"{_CHUNK_TESTS}::test_a_spent_budget_keeps_the_dead_letters_and_none_of_the_rows",
    noticed="UniqueViolationError",
)
def dead_letters_of_a_failed_try_kept() -> None:
    """What an earlier attempt learned of a chunk stays true."""

    @in_place_of(forget_dead_letters)
    async def keep(connection: asyncpg.Connection, handle: LoadHandle, chunk_no: int) -> None:
        return


@bug(
    test="pipeline_tests/integration/dead_letters/test_dead_letters.py::test_an_existing_table_s_own_rules_hold",
    noticed="98 written, 1 dead-lettered",
)
def refused_rows_skipped() -> None:
    """A row that the server refuses is left out."""

    @in_place_of(PreparedRows.refusals)
    def skip(self: PreparedRows, causes: Mapping[int, Refusal]) -> list[DeadLetter]:
        return []


@bug(
    test=f"{_CHUNK_TESTS}::test_rows_set_aside_become_dead_letters_untried",
    noticed="97 written, 1 dead-lettered",
)
def rows_set_aside_forgotten() -> None:
    """A row that kills its worker is left out, and its neighbours load."""

    @in_place_of(_crash_dead_letters)
    def forget(source: pl.DataFrame, job: ChunkJob) -> list[DeadLetter]:
        return []


@bug(
    test="pipeline_tests/integration/chunk/test_transforms.py"
    "::test_filtered_rows_are_counted_and_rows_for_which_it_raises_are_dead_letters",
    noticed="enqueued and 0 added, but",
)
def filtered_rows_uncounted() -> None:
    """What the transform filters is not wanted, so it needs no figure."""

    @in_place_of(transform_frame)
    def transform(
        transform: FrameTransform,
        source: pl.DataFrame,
        *,
        refusals_max: int,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Transformed:
        outcome = transform_frame(transform, source, refusals_max=refusals_max, on_progress=on_progress)
        return replace(outcome, counts=replace(outcome.counts, filtered_rows=0))
