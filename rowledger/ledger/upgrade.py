"""Create or upgrade the ledger before any load, as its owner, and grant other roles the privileges they need."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from rowledger.errors import RowledgerError
from rowledger.ledger.leftovers import sweep_staging
from rowledger.ledger.migrations import ensure_ledger, read_ledger_version
from rowledger.ledger.script import grant_statements
from rowledger.postgres import check_server, server_session, summarize, transaction
from rowledger.settings import WriterSettings

__all__ = ["run_migrate"]


@dataclass(frozen=True, slots=True)
class Migrated:
    """The ledger's version before (0 where there was none) and now, and notes."""

    before: int
    after: int
    notes: tuple[str, ...]


def run_migrate(url: str, *, writers: Sequence[str] = (), readers: Sequence[str] = ()) -> Migrated:
    """Bring the ledger to this version, grant the roles their privileges, and drop the staging tables of ended loads.

    Raises what `ensure_ledger` raises, and RowledgerError for a role that no privilege can be granted to.
    """
    return asyncio.run(_migrate(url, grant_statements(writers, readers)))


async def _migrate(url: str, grants: Sequence[str]) -> Migrated:
    limits = WriterSettings()
    async with server_session(url, purpose="migrate", doing="migrating the ledger", limits=limits) as session:
        connection = session.connection
        await check_server(session.session)
        before = await read_ledger_version(connection)
        await ensure_ledger(connection, wait_s=limits.busy_wait_s)
        await _grant(connection, grants)
        notes = await sweep_staging(connection)
        return Migrated(before, await read_ledger_version(connection), tuple(notes))


async def _grant(connection: asyncpg.Connection, grants: Sequence[str]) -> None:
    async with transaction(connection):
        for statement in grants:
            try:
                await connection.execute(statement)
            except (asyncpg.UndefinedObjectError, asyncpg.InsufficientPrivilegeError) as error:
                raise RowledgerError(f"{statement}: {summarize(error)}; no privilege was granted") from None
