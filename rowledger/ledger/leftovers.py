"""Staging tables of ended loads: a run drops those that its role may drop, and names the others. No function commits."""

import asyncpg

from rowledger.postgres import LEDGER_SCHEMA, brief_locks, drop_staging, query, quoted, transaction

__all__ = ["discard_staging", "sweep_staging"]

_LOCK_TIMEOUT_S = 1


async def discard_staging(connection: asyncpg.Connection, staging_table: str) -> bool:
    """Drop a staging table that no load needs any more; returns False when another object depends on it.

    A table that belongs to another role, is locked, or has a dependent object is left for `sweep_staging`: no other
    load uses its name.
    """
    if await connection.fetchval(query("may_drop"), LEDGER_SCHEMA, staging_table):
        try:
            async with brief_locks(connection, _LOCK_TIMEOUT_S):
                await drop_staging(connection, staging_table)
        except asyncpg.LockNotAvailableError:
            pass
        except asyncpg.DependentObjectsStillExistError:
            return False
    return True


async def sweep_staging(connection: asyncpg.Connection) -> list[str]:
    """Drop the staging tables of ended loads, each in one transaction.

    Returns a sentence for each table that this role cannot drop.
    """
    told = []
    for row in await connection.fetch(query("staging_tables")):
        name, table = f"{LEDGER_SCHEMA}.{row['name']}", quoted(LEDGER_SCHEMA, row["name"])
        if not row["is_ours"]:
            told.append(
                f"staging table {name} of a load that has ended belongs to role {row['owner']}: that "
                "role's next run drops it, as does `rowledger db migrate` as the owner of the ledger's schema, or: "
                f"drop table {table}"
            )
            continue
        async with transaction(connection):
            is_dropped = await discard_staging(connection, row["name"])
        if not is_dropped:
            told.append(
                f"staging table {name} of a load that has ended is kept, because another object depends on it. "
                f"Drop both: drop table {table} cascade"
            )
    return told
