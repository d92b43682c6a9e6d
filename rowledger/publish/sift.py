"""Fit staged rows to each other and to the target: rows that other rows keep from being published are set aside.

These are rows without a parent, rows that an append would add a second time, and all but the first of the rows that
share a key or the values of another unique index. The remaining rows can be published, as far as this can be known
beforehand.
"""

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import asyncpg

from rowledger.ledger import SupervisorSessions
from rowledger.postgres import add_key, add_unique_index, has_key, is_raised, may_be_about_rows
from rowledger.publish.conflicts import Conflict, collisions, duplicate_keys, duplicates, orphans, unique_indexes
from rowledger.publish.finish_context import FinishContext, read_repeated_load, require_all_committed
from rowledger.publish.rehearsal import set_unindexable_aside
from rowledger.publish.set_aside import set_rows_aside

__all__ = ["sift_conflicts"]


class _FunctionRaised(Exception):
    """A function of the database has raised `error`, such as the function of an index on an expression."""

    def __init__(self, error: asyncpg.PostgresError) -> None:
        super().__init__()
        self.error = error


async def sift_conflicts(sessions: SupervisorSessions, load: FinishContext) -> None:
    """Set aside the rows that others keep from being published; raises ChunksPending.

    A row that an index cannot hold at all, such as a row with a key of 9,000 characters, is set aside too.
    """
    try:
        await _sift(sessions, load)
    except (asyncpg.PostgresError, _FunctionRaised) as failure:
        error = failure.error if isinstance(failure, _FunctionRaised) else failure
        if not may_be_about_rows(error):
            raise
        rehearsed = await sessions.transaction(
            f"{load.name}: look for rows that no index holds",
            lambda connection: set_unindexable_aside(connection, load),
            durable=True,
        )
        if not rehearsed.rows:
            raise error from None
    else:
        return
    load.say(f"{rehearsed.rows} row(s) {rehearsed.why} and become dead letters")
    try:
        await _sift(sessions, load)
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


async def _sift(sessions: SupervisorSessions, load: FinishContext) -> None:
    """Set aside the rows that other rows keep from being published.

    Rows without a parent and rows that the table already has come first, since no row of this load can save them: the
    row that is kept of those with one key must not be one of them.
    """
    spec, target, handle, partition = load.spec, load.target, load.handle, load.partition
    alone = [
        *orphans(spec, target, handle, partition, on_itself=False),
        *collisions(spec, target, handle, partition),
    ]
    if alone:
        await _set_aside(sessions, load, alone)
    if spec.key:
        await _build(sessions, load, partial(_ensure_key, load=load), duplicate_keys(spec, handle))
    for number, index in enumerate(unique_indexes(target)):
        # Like the target's: attaching the staging table takes it over.
        add = partial(add_unique_index, handle=handle, number=number, index=index)
        await _build(sessions, load, add, duplicates(index, target, handle))
    if on_itself := orphans(spec, target, handle, partition, on_itself=True):
        await _set_aside(sessions, load, on_itself)


async def _set_aside(
    sessions: SupervisorSessions,
    load: FinishContext,
    conflicts: Sequence[Conflict],
) -> None:
    """Look for conflicts until there are none: a row that is set aside may be another row's parent."""

    async def look(connection: asyncpg.Connection) -> Counter[str]:
        gone: Counter[str] = Counter()
        await require_all_committed(connection, load)
        if await read_repeated_load(connection, load.spec, load.partition, load.manifest) is not None:
            return gone  # all its rows are in the table already, which is not a conflict here
        is_done = False
        with _retrying_no_function():
            while not is_done:
                found = {conflict.what: await set_rows_aside(connection, conflict, load) for conflict in conflicts}
                gone.update(found)
                is_done = not any(found.values())
        return gone

    gone = await sessions.transaction(f"{load.name}: look for rows to set aside", look, durable=True)
    for what, rows in gone.items():
        if rows:
            load.say(f"{rows} row(s) {what} and become dead letters")


async def _ensure_key(connection: asyncpg.Connection, load: FinishContext) -> None:
    if not await has_key(connection, load.handle):
        await add_key(connection, load.handle, load.spec.key)


async def _build(
    sessions: SupervisorSessions,
    load: FinishContext,
    add: Callable[[asyncpg.Connection], Awaitable[None]],
    conflict: Conflict,
) -> None:
    """Build a key or unique index first, and look for duplicates only if that fails: the search costs four times the index.

    Both look for pending chunks inside their own transaction and commit durably, which puts all earlier chunks on
    disk too. A server crash therefore leaves either a key over all rows, or chunks that are seen to be pending.
    """

    async def build(connection: asyncpg.Connection) -> None:
        await require_all_committed(connection, load)
        with _retrying_no_function():
            await add(connection)

    async def set_aside_and_build(connection: asyncpg.Connection) -> None:
        await require_all_committed(connection, load)
        surplus = await set_rows_aside(connection, conflict, load)
        load.say(f"{surplus} row(s) {conflict.what} of rows before them and become dead letters")
        await build(connection)

    try:
        await sessions.transaction(f"{load.name}: build the key", build, durable=True)
    except asyncpg.UniqueViolationError:
        await sessions.transaction(f"{load.name}: set duplicates aside", set_aside_and_build, durable=True)
