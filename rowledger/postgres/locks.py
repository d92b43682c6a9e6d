"""How long a statement waits for a lock, where it is another time than its transaction's."""

import contextlib
from collections.abc import AsyncIterator

import asyncpg

from rowledger.postgres.session import transaction

__all__ = ["brief_locks"]


@contextlib.asynccontextmanager
async def brief_locks(connection: asyncpg.Connection, seconds: float) -> AsyncIterator[None]:
    """A savepoint in which locks are waited for so many seconds; LockNotAvailableError leaves the transaction usable."""
    before = await connection.fetchval("select current_setting('lock_timeout')")
    async with transaction(connection):
        await connection.execute(f"set local lock_timeout = '{int(seconds * 1000)}ms'")
        yield
        await connection.execute("select set_config('lock_timeout', $1, true)", before)
