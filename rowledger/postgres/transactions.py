"""Transactions and their limits: how long a statement, a lock or an idle client may take, and what COMMIT waits for."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg

from rowledger.postgres.session_settings import DURABLE
from rowledger.settings import WriterSettings

__all__ = ["TransactionLimits", "begin", "brief_locks", "limit_lock_waits", "transaction"]


@dataclass(frozen=True, slots=True)
class TransactionLimits:
    """Settings of one transaction; None leaves what the session has.

    A `durable` COMMIT waits for the disk at least, and for standbys as the role's setting says. Without that a crash of the
    server may undo the transaction as a whole.
    """

    statement_timeout_s: float | None = None
    lock_timeout_s: float | None = None
    idle_timeout_s: float | None = None
    durable: bool | None = None

    @classmethod
    def of(
        cls, settings: WriterSettings, *, idle_timeout_s: float, durable: bool, lock_timeout_s: float | None = None
    ) -> "TransactionLimits":
        """All of them; statements and, where nothing else is given, locks as the settings say."""
        return cls(
            settings.statement_timeout_s,
            settings.lock_timeout_s if lock_timeout_s is None else lock_timeout_s,
            idle_timeout_s,
            durable,
        )

    @property
    def statements(self) -> str:
        """What sets them for the current transaction."""
        timeouts = {
            "statement_timeout": self.statement_timeout_s,
            "lock_timeout": self.lock_timeout_s,
            "idle_in_transaction_session_timeout": self.idle_timeout_s,
        }
        statements = [f"set local {name} = '{_as_setting(s)}'" for name, s in timeouts.items() if s is not None]
        if self.durable is not None:
            statements.append(DURABLE if self.durable else "set local synchronous_commit = off")
        return ";".join(statements)


async def begin(connection: asyncpg.Connection, limits: TransactionLimits) -> None:
    """Begin a transaction that the caller ends by a statement of its own, commit or rollback.

    Inside it asyncpg's own transactions, and so `transaction`, are refused.
    """
    await connection.execute(f"begin;{limits.statements}")


@contextlib.asynccontextmanager
async def transaction(
    connection: asyncpg.Connection,
    limits: TransactionLimits | None = None,
    *,
    isolation: str | None = None,
    read_only: bool = False,
) -> AsyncIterator[None]:
    """A transaction, or a savepoint inside another one; a cancel cuts the connection instead of sending ROLLBACK.

    A server that does not answer would hold up the cancel for as long as it does not; it rolls back by itself. `isolation` is
    `read_committed` or `repeatable_read`; without it the session's own applies.
    """
    async with connection.transaction(isolation=isolation, readonly=read_only):
        try:
            if limits is not None:
                await connection.execute(limits.statements)
            yield
        except asyncio.CancelledError:
            connection.terminate()
            raise


@contextlib.asynccontextmanager
async def brief_locks(connection: asyncpg.Connection, seconds: float) -> AsyncIterator[None]:
    """A savepoint in which locks are waited for so many seconds; LockNotAvailableError leaves the transaction usable."""
    before = await connection.fetchval("select current_setting('lock_timeout')")
    async with transaction(connection, TransactionLimits(lock_timeout_s=seconds)):
        yield
        await connection.execute("select set_config('lock_timeout', $1, true)", before)


async def limit_lock_waits(connection: asyncpg.Connection, seconds: float) -> None:
    """How long any statement of the session waits for a lock from now on."""
    await connection.execute(f"set lock_timeout = '{_as_setting(seconds)}'")


def _as_setting(seconds: float) -> str:
    """A time in whole milliseconds, at least one: 0 would be no limit."""
    return f"{max(1, math.ceil(seconds * 1000))}ms"
