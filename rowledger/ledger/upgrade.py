"""Make or upgrade the ledger by itself, before any load: as its owner, who grants others what they need."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from rowledger.errors import DatabaseUnavailable, RowledgerError
from rowledger.ledger.leftovers import sweep_staging
from rowledger.ledger.migrations import ensure_ledger, read_ledger_version
from rowledger.ledger.script import grant_statements
from rowledger.postgres import check_server, connect, deadline, summarize
from rowledger.settings import WriterSettings

__all__ = ["Migrated", "run_migrate"]


@dataclass(frozen=True, slots=True)
class Migrated:
    """The ledger's version before (0: there was none) and now, and what is left to say."""

    before: int
    after: int
    notes: tuple[str, ...]


def run_migrate(url: str, *, writers: Sequence[str] = (), readers: Sequence[str] = ()) -> Migrated:
    """Bring the ledger to this version, grant the roles what loading or reading takes, drop what ended loads have left.

    Raises what `ensure_ledger` does, and RowledgerError for a role that cannot be granted anything.
    """
    return asyncio.run(_migrate(url, grant_statements(writers, readers)))


async def _migrate(url: str, grants: Sequence[str]) -> Migrated:
    limits = WriterSettings()
    session = await connect(url, application_name="rowledger migrate", timeout_s=limits.connect_timeout_s)
    try:
        async with deadline(session, limits.statement_timeout_s):
            await check_server(session)
            before = await read_ledger_version(session.connection)
            await ensure_ledger(session.connection, wait_s=limits.busy_wait_s)
            await _grant(session.connection, grants)
            notes = await sweep_staging(session.connection)
            return Migrated(before, await read_ledger_version(session.connection), tuple(notes))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(f"migrating the ledger failed: {summarize(error)}") from error
    finally:
        await session.close()


async def _grant(connection: asyncpg.Connection, grants: Sequence[str]) -> None:
    async with connection.transaction():
        for statement in grants:
            try:
                await connection.execute(statement)
            except (asyncpg.UndefinedObjectError, asyncpg.InsufficientPrivilegeError) as error:
                raise RowledgerError(f"{statement}: {summarize(error)}; no privilege was granted") from None
