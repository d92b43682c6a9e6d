"""Transactions and their limits: how long a statement, a lock or an idle client may take, and what COMMIT waits for."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator

import asyncpg

from rowledger.postgres.session_settings import DURABLE
from rowledger.settings import WriterSettings

__all__ = ["begin", "brief_locks", "limit_lock_waits", "lock_timeout", "transaction", "transaction_limits"]


# The latest savepoint of a name hides earlier ones, and inner blocks end before outer ones.
_SAVEPOINT = ("savepoint block", "release savepoint block", "rollback to savepoint block; release savepoint block")


def transaction_limits(
    settings: WriterSettings, *, idle_timeout_s: float, durable: bool, lock_timeout_s: float | None = None
) -> str:
    """SQL that sets the limits of the current transaction. The lock timeout comes from the settings unless it is given.

    A `durable` COMMIT waits at least for the disk, and for standbys as the role's setting says. A crash of the server may undo
    a transaction that is not durable, but only as a whole.
    """
    statements = [
        f"set local statement_timeout = {_as_setting(settings.statement_timeout_s)}",
        lock_timeout(settings.lock_timeout_s if lock_timeout_s is None else lock_timeout_s),
        f"set local idle_in_transaction_session_timeout = {_as_setting(idle_timeout_s)}",
        DURABLE if durable else "set local synchronous_commit = off",
    ]
    return ";".join(statements)


def lock_timeout(seconds: float) -> str:
    """SQL that limits how long each statement of the current transaction waits for a lock."""
    return f"set local lock_timeout = {_as_setting(seconds)}"


async def begin(connection: asyncpg.Connection, limits: str) -> None:
    """Begin a transaction that the caller ends by executing COMMIT or ROLLBACK.

    Inside it asyncpg refuses its own transactions; `transaction` opens a savepoint.
    """
    await connection.execute(f"begin;{limits}")


@contextlib.asynccontextmanager
async def transaction(
    connection: asyncpg.Connection,
    first: str = "",
    *,
    isolation: str | None = None,
    read_only: bool = False,
) -> AsyncIterator[None]:
    """Open a transaction, or a savepoint inside another one; a cancel cuts the connection instead of sending ROLLBACK.

    A server that does not answer ROLLBACK would delay the cancel; without the connection, it rolls back by itself. `first` is
    SQL that is sent together with BEGIN or SAVEPOINT. `isolation` is `read_committed` or `repeatable_read`; by default the
    session's applies.
    """
    is_inner = connection.is_in_transaction()
    modes = [f"isolation level {isolation.replace('_', ' ')}"] if isolation else []
    modes += ["read only"] if read_only else []
    begins, commits, rolls_back = _SAVEPOINT if is_inner else (f"begin {', '.join(modes)}", "commit", "rollback")
    try:
        await connection.execute(f"{begins};{first}")
        yield
    except asyncio.CancelledError:
        connection.terminate()
        raise
    except BaseException:
        if not connection.is_closed() and connection.is_in_transaction():
            await connection.execute(rolls_back)
        raise
    await connection.execute(commits)


@contextlib.asynccontextmanager
async def brief_locks(connection: asyncpg.Connection, seconds: float) -> AsyncIterator[None]:
    """Open a savepoint in which a lock wait ends after `seconds`; LockNotAvailableError leaves the transaction usable."""
    before = await connection.fetchval("select current_setting('lock_timeout')")
    async with transaction(connection, lock_timeout(seconds)):
        yield
        await connection.execute("select set_config('lock_timeout', $1, true)", before)


async def limit_lock_waits(connection: asyncpg.Connection, seconds: float) -> None:
    """Limit how long each statement of the session waits for a lock from now on."""
    await connection.execute(f"set lock_timeout = {_as_setting(seconds)}")


def _as_setting(seconds: float) -> str:
    """The time in whole milliseconds, at least one: 0 would mean no limit."""
    return f"'{max(1, math.ceil(seconds * 1000))}ms'"
