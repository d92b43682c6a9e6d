"""The one way to read the ledger without writing: no migration, SELECT alone, and a sentence that names what is missing."""

import contextlib
from collections.abc import AsyncIterator

import asyncpg

from rowledger.errors import DatabaseUnavailable, MissingPrivilege
from rowledger.ledger.migrations import check_ledger
from rowledger.postgres import (
    check_server,
    connect,
    deadline,
    missing_on_schema,
    missing_on_table,
    query,
    quoted,
    require_privileges,
    role_of,
    summarize,
)
from rowledger.settings import WriterSettings
from rowledger.spec import QualifiedName

__all__ = ["ledger_reader"]


@contextlib.asynccontextmanager
async def ledger_reader(
    url: str, *, purpose: str, limits: WriterSettings, target: QualifiedName | None = None
) -> AsyncIterator[asyncpg.Connection]:
    """A session in a read-only transaction with one snapshot, for a block that reads the ledger.

    `purpose` (`status`, `verify`) names the session. With a `target` its rows are read too: the table is locked against being
    replaced before the snapshot is taken, because one that is swapped in shows its rows to older snapshots as well.

    Raises LedgerMissing where nothing was ever loaded, LedgerMismatch, MissingPrivilege that names the GRANT, and
    DatabaseUnavailable.
    """
    session = await connect(url, application_name=f"rowledger {purpose}", timeout_s=limits.connect_timeout_s)
    connection = session.connection
    try:
        async with deadline(session, limits.statement_timeout_s):
            await check_server(session)
            await connection.execute(f"set lock_timeout = '{int(limits.lock_timeout_s * 1000)}ms'")
            await check_ledger(connection)
            has_target = target is not None and await _is_readable(connection, target, purpose)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                if target is not None and has_target:
                    await connection.execute(f"lock table only {quoted(*target.parts)} in access share mode")
                yield connection
    except asyncpg.InsufficientPrivilegeError as error:
        raise MissingPrivilege(
            f"rowledger {purpose}: the server refused for want of a privilege ({summarize(error)}); it was revoked meanwhile, "
            "or is one on something that the table depends on"
        ) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(f"rowledger {purpose}: reading the ledger failed: {summarize(error)}") from error
    finally:
        await session.close()


async def _is_readable(connection: asyncpg.Connection, target: QualifiedName, purpose: str) -> bool:
    """Whether the table is there; raises MissingPrivilege where this role may not read it."""
    if not await connection.fetchval(query("relation_exists"), *target.parts):
        return False
    missing = await missing_on_schema(connection, target.schema_name, ("usage",))
    missing += await missing_on_table(connection, *target.parts, ("select",))
    require_privileges(missing, role=await role_of(connection), purpose=f"rowledger {purpose}")
    return True
