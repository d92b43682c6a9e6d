"""Read the ledger without writing: no migration, SELECT alone, and an error that names what is missing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import asyncpg

from rowledger.ledger.checked_session import ledger_session
from rowledger.postgres import (
    missing_on_schema,
    missing_on_table,
    query,
    quoted,
    require_privileges,
    transaction,
)
from rowledger.settings import WriterSettings
from rowledger.spec import QualifiedName

__all__ = ["ledger_reader", "read_ledger"]

T = TypeVar("T")


@contextlib.asynccontextmanager
async def ledger_reader(
    url: str, *, purpose: str, limits: WriterSettings, target: QualifiedName | None = None
) -> AsyncIterator[asyncpg.Connection]:
    """A session in a read-only transaction with one snapshot, for a block that reads the ledger.

    `purpose` (`status`, `verify`) names the session. With a `target` the block reads its rows too. The table is
    locked before the snapshot is taken, so that it cannot be replaced: a table that is swapped in shows its rows to
    older snapshots as well.

    Raises LedgerMissing where nothing was ever loaded, LedgerMismatch, MissingPrivilege that names the GRANT, and
    DatabaseUnavailable.
    """
    session = ledger_session(url, purpose=purpose, doing=f"rowledger {purpose}: reading the ledger", limits=limits)
    async with session as reader:
        connection = reader.connection
        has_target = target is not None and await _is_readable(connection, target, purpose)
        async with transaction(connection, isolation="repeatable_read", read_only=True):
            if target is not None and has_target:
                await connection.execute(f"lock table only {quoted(*target.parts)} in access share mode")
            yield connection


async def _is_readable(connection: asyncpg.Connection, target: QualifiedName, purpose: str) -> bool:
    """Whether the table exists; raises MissingPrivilege where this role may not read it."""
    if not await connection.fetchval(query("relation_exists"), *target.parts):
        return False
    missing = await missing_on_schema(connection, target.schema_name, ("usage",))
    missing += await missing_on_table(connection, *target.parts, ("select",))
    await require_privileges(connection, missing, purpose=f"rowledger {purpose}")
    return True


def read_ledger(url: str, read: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """What `read` returns in a session that shows the ledger's status; raises what `ledger_reader` does."""

    async def in_session() -> T:
        async with ledger_reader(url, purpose="status", limits=WriterSettings()) as connection:
            return await read(connection)

    return asyncio.run(in_session())
