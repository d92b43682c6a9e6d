"""Staging tables of loads that have ended: dropped by any run whose role may, named for the others. No function commits."""

import contextlib

import asyncpg

from pipeline.postgres.locks import brief_locks
from pipeline.postgres.queries import LEDGER_SCHEMA, query, quoted
from pipeline.postgres.staging import drop_staging

__all__ = ["discard_staging", "sweep_staging"]

_LOCK_TIMEOUT_S = 1


async def discard_staging(connection: asyncpg.Connection, staging_table: str) -> None:
    """Drop a staging table that no load needs any more.

    One of another role, or one that a session has locked, is left for `sweep_staging`: no other load has its name.
    """
    if await connection.fetchval(query("may_drop"), LEDGER_SCHEMA, staging_table):
        with contextlib.suppress(asyncpg.LockNotAvailableError):
            async with brief_locks(connection, _LOCK_TIMEOUT_S):
                await drop_staging(connection, staging_table)


async def sweep_staging(connection: asyncpg.Connection) -> list[str]:
    """Drop what ended loads have left, each table in a transaction; returns a sentence on each that is another role's."""
    told = []
    for row in await connection.fetch(query("staging_tables")):
        if row["is_ours"]:
            async with connection.transaction():
                await discard_staging(connection, row["name"])
        else:
            told.append(
                f"staging table {LEDGER_SCHEMA}.{row['name']} of a load that has ended belongs to role {row['owner']}: that "
                "role's next run drops it, as does `rowledger db migrate` as the owner of the ledger's schema, or: "
                f"drop table {quoted(LEDGER_SCHEMA, row['name'])}"
            )
    return told
