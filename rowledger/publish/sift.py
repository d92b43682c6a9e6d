"""Fit staged rows to each other and to the target: rows that other rows keep from being published are set aside.

These are rows without a parent, rows that an append would add a second time, and all but the first of the rows that
share a key or the values of another unique index. The remaining rows can be published, as far as this can be known
beforehand.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence

import asyncpg

from rowledger.ledger import SupervisorSessions, read_pending_chunks
from rowledger.postgres import UniqueIndex, add_key, add_unique_index, has_key, is_raised, may_be_about_rows
from rowledger.publish.conflicts import collisions, duplicate_keys, duplicates, orphans, unique_indexes
from rowledger.publish.finished_load import FinishedLoad, read_repeated_load
from rowledger.publish.rehearsal import set_unindexable_aside
from rowledger.publish.set_aside import set_rows_aside
from rowledger.publish.source_rows import Conflict
from rowledger.settings import WriterSettings
from rowledger.spec import ChunkPlan

__all__ = ["sift_conflicts"]


class _FunctionRaised(Exception):
    """A function of the database has raised `error`, such as the function of an index on an expression."""

    def __init__(self, error: asyncpg.PostgresError) -> None:
        super().__init__()
        self.error = error


async def sift_conflicts(
    sessions: SupervisorSessions, load: FinishedLoad, settings: WriterSettings, say: Callable[[str], None]
) -> tuple[ChunkPlan, ...]:
    """Set aside the rows that others keep from being published; returns chunks that are found to be pending.

    A row that an index cannot hold at all, such as a row with a key of 9,000 characters, is set aside too.
    """
    try:
        return await _sift(sessions, load, settings, say)
    except (asyncpg.PostgresError, _FunctionRaised) as failure:
        error = failure.error if isinstance(failure, _FunctionRaised) else failure
        if not may_be_about_rows(error):
            raise
        rehearsed = await sessions.transaction(
            f"{load.name}: look for rows that no index holds",
            lambda connection: set_unindexable_aside(connection, load, settings),
            durable=True,
        )
        if rehearsed.pending:
            return rehearsed.pending
        if not rehearsed.rows:
            raise error from None
    say(f"{load.name}: {rehearsed.rows} row(s) {rehearsed.why} and become dead letters")
    try:
        return await _sift(sessions, load, settings, say)
    except _FunctionRaised as failure:
        raise failure.error from None


@contextlib.contextmanager
def _retrying_no_function() -> Iterator[None]:
    """Keep a SQLSTATE that a function's author has chosen from being taken for a reason to retry the transaction."""
    try:
        yield
    except asyncpg.PostgresError as error:
        if is_raised(error):
            raise _FunctionRaised(error) from None
        raise


async def _sift(
    sessions: SupervisorSessions, load: FinishedLoad, settings: WriterSettings, say: Callable[[str], None]
) -> tuple[ChunkPlan, ...]:
    """Set aside the rows that other rows keep from being published.

    Rows without a parent and rows that the table already has come first, since no row of this load can save them: the
    row that is kept of those with one key must not be one of them.
    """
    spec, target, handle, partition = load.spec, load.target, load.handle, load.partition
    alone = [
        *orphans(spec, target, handle, partition, on_itself=False),
        *collisions(spec, target, handle, partition),
    ]
    if alone and (pending := await _set_aside(sessions, load, alone, settings, say)):
        return pending
    if spec.key and (pending := await _build_key(sessions, load, settings, say)):
        return pending
    for number, index in enumerate(unique_indexes(target)):
        if pending := await _build_unique_index(sessions, load, number, index, settings, say):
            return pending
    if on_itself := orphans(spec, target, handle, partition, on_itself=True):
        return await _set_aside(sessions, load, on_itself, settings, say)
    return ()


async def _set_aside(
    sessions: SupervisorSessions,
    load: FinishedLoad,
    conflicts: Sequence[Conflict],
    settings: WriterSettings,
    say: Callable[[str], None],
) -> tuple[ChunkPlan, ...]:
    """Look for conflicts until there are none: a row that is set aside may be another row's parent."""

    async def look(connection: asyncpg.Connection) -> tuple[tuple[ChunkPlan, ...], dict[str, int]]:
        gone: dict[str, int] = {}
        if pending := await read_pending_chunks(connection, load.handle, load.manifest):
            return pending, gone
        if await read_repeated_load(connection, load.spec, load.partition, load.manifest) is not None:
            return (), gone  # all its rows are in the table already, which is not a conflict here
        with _retrying_no_function():
            while found := {
                conflict.what: await set_rows_aside(connection, conflict, load, settings) for conflict in conflicts
            }:
                if not any(found.values()):
                    break
                gone = {what: gone.get(what, 0) + rows for what, rows in found.items()}
        return (), gone

    pending, gone = await sessions.transaction(f"{load.name}: look for rows to set aside", look, durable=True)
    for what, rows in gone.items():
        if rows:
            say(f"{load.name}: {rows} row(s) {what} and become dead letters")
    return pending


async def _build_key(
    sessions: SupervisorSessions, load: FinishedLoad, settings: WriterSettings, say: Callable[[str], None]
) -> tuple[ChunkPlan, ...]:
    """Build the key first, and look for duplicates only if that fails: the search costs four times the index.

    Both look for pending chunks inside their own transaction and commit durably, which puts all earlier chunks on
    disk too. A server crash therefore leaves either a key over all rows, or chunks that are seen to be pending.
    Returns those chunks.
    """

    async def build(connection: asyncpg.Connection) -> tuple[ChunkPlan, ...]:
        pending = await read_pending_chunks(connection, load.handle, load.manifest)
        if not pending and not await has_key(connection, load.handle):
            with _retrying_no_function():
                await add_key(connection, load.handle, load.spec.key)
        return pending

    return await _build_or_set_aside(sessions, load, build, duplicate_keys(load.spec, load.handle), settings, say)


async def _build_unique_index(
    sessions: SupervisorSessions,
    load: FinishedLoad,
    number: int,
    index: UniqueIndex,
    settings: WriterSettings,
    say: Callable[[str], None],
) -> tuple[ChunkPlan, ...]:
    """Build a unique index like the target's, in the same way; attaching the staging table takes it over."""

    async def build(connection: asyncpg.Connection) -> tuple[ChunkPlan, ...]:
        if not (pending := await read_pending_chunks(connection, load.handle, load.manifest)):
            with _retrying_no_function():
                await add_unique_index(connection, load.handle, number, index)
        return pending

    return await _build_or_set_aside(sessions, load, build, duplicates(index, load.target, load.handle), settings, say)


async def _build_or_set_aside(
    sessions: SupervisorSessions,
    load: FinishedLoad,
    build: Callable[[asyncpg.Connection], Awaitable[tuple[ChunkPlan, ...]]],
    conflict: Conflict,
    settings: WriterSettings,
    say: Callable[[str], None],
) -> tuple[ChunkPlan, ...]:
    async def set_aside_and_build(connection: asyncpg.Connection) -> tuple[ChunkPlan, ...]:
        if pending := await read_pending_chunks(connection, load.handle, load.manifest):
            return pending
        surplus = await set_rows_aside(connection, conflict, load, settings)
        say(f"{load.name}: {surplus} row(s) {conflict.what} of rows before them and become dead letters")
        return await build(connection)

    try:
        return await sessions.transaction(f"{load.name}: build the key", build, durable=True)
    except asyncpg.UniqueViolationError:
        return await sessions.transaction(f"{load.name}: set duplicates aside", set_aside_and_build, durable=True)
