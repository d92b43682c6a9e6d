"""Bring the ledger's schema up to this version of Rowledger."""

import asyncpg

from pipeline.errors import UnsupportedServer
from pipeline.postgres.queries import migrations, query

__all__ = ["ensure_ledger"]

# Any constant serves, as long as every Rowledger uses the same one.
_MIGRATION_LOCK = 0x726F776C


async def ensure_ledger(connection: asyncpg.Connection) -> None:
    """Apply the migrations that are missing; may be called by many runs at once."""
    wanted = migrations()
    if await _version(connection) == wanted[-1].version:
        return
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        await connection.execute(
            "create schema if not exists rowledger;"
            "create table if not exists rowledger.schema_version ("
            " version integer primary key, name text not null, applied_at timestamptz not null default now())"
        )
        done = await _version(connection)
        if done > wanted[-1].version:
            raise UnsupportedServer(
                f"the ledger is at version {done}, newer than this Rowledger knows ({wanted[-1].version}): upgrade it"
            )
        for migration in wanted:
            if migration.version > done:
                await connection.execute(migration.sql)
                await connection.execute(query("record_schema_version"), migration.version, migration.name)


async def _version(connection: asyncpg.Connection) -> int:
    if await connection.fetchval("select to_regclass('rowledger.schema_version')") is None:
        return 0
    return int(await connection.fetchval(query("schema_version")))
