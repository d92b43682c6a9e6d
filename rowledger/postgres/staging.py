"""Staging tables, one for each load: create one like the target, add its key and indexes, drop it. No function commits."""

from collections.abc import Sequence

import asyncpg

from rowledger.errors import TargetMismatch
from rowledger.postgres.bounds import partition_predicate
from rowledger.postgres.catalogue import Target
from rowledger.postgres.constraints import UniqueIndex
from rowledger.postgres.queries import LEDGER_SCHEMA, query, quote_identifier, quote_literal, quoted
from rowledger.spec import LoadHandle, Partition

__all__ = [
    "BOUNDS_CONSTRAINT",
    "OWN_BOUNDS_CONSTRAINT",
    "add_key",
    "add_unique_index",
    "create_staging",
    "drop_staging",
    "has_key",
    "lock_staging",
    "rewrite_staging",
]

BOUNDS_CONSTRAINT = "rowledger_bounds"
OWN_BOUNDS_CONSTRAINT = "rowledger_own_bounds"


async def create_staging(
    connection: asyncpg.Connection, target: Target, handle: LoadHandle, partition: Partition
) -> None:
    """Create a logged table like the target, without indexes, that accepts only rows of this partition.

    An identity column that the contract lacks is filled from the target's sequence where the staging table may be attached;
    otherwise the insert into the target fills it. Raises TargetMismatch where a CHECK of the target refers to the whole row.
    """
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    checks = ""
    if partition.conditions:
        present = "".join(
            f"{quote_identifier(condition.column)} is not null and " for condition in partition.conditions
        )
        checks = f", constraint {BOUNDS_CONSTRAINT} check ({present}{partition_predicate(target, partition)})"
    name = quoted(*target.name.parts)
    beside = await connection.fetchrow(query("beside_like"), name)
    if beside["own_bounds"]:
        checks += f", constraint {OWN_BOUNDS_CONSTRAINT} check ({beside['own_bounds']})"
    try:
        await connection.execute(
            f"create table {staging} (like {name}"
            f" including all excluding indexes excluding identity excluding statistics{checks})"
        )
    except asyncpg.FeatureNotSupportedError:
        raise TargetMismatch(
            f"target {target.name} cannot be copied as a staging table: one of its CHECK constraints speaks of the whole row "
            f"({target.name.table} or {target.name.table}.*); let it name the columns, then rerun"
        ) from None
    for column in beside["identities"]:
        if column not in target.column_types:
            fill = (
                f"set default nextval({quote_literal(target.identities[column])}::regclass)"
                if target.takes_partitions_of(partition)
                else "drop not null"
            )
            await connection.execute(f"alter table {staging} alter column {quote_identifier(column)} {fill}")


async def lock_staging(connection: asyncpg.Connection, handle: LoadHandle) -> None:
    """Keep other sessions from writing to the staging table until the transaction ends."""
    await connection.execute(f"lock table {quoted(LEDGER_SCHEMA, handle.staging_table)} in share mode")


async def drop_staging(connection: asyncpg.Connection, staging_table: str) -> None:
    """Drop a staging table, if it still exists."""
    await connection.execute(f"drop table if exists {quoted(LEDGER_SCHEMA, staging_table)}")


async def rewrite_staging(connection: asyncpg.Connection, staging_table: str) -> None:
    """Rewrite the table without its deleted rows.

    CREATE INDEX evaluates a deleted row too for as long as any session has a snapshot that sees it. Changing the persistence
    and changing it back copies only the live rows.
    """
    staging = quoted(LEDGER_SCHEMA, staging_table)
    await connection.execute(f"alter table {staging} set unlogged; alter table {staging} set logged")


async def has_key(connection: asyncpg.Connection, handle: LoadHandle) -> bool:
    """Whether the staging table has its primary key already."""
    return bool(await connection.fetchval(query("has_primary_key"), quoted(LEDGER_SCHEMA, handle.staging_table)))


async def add_key(connection: asyncpg.Connection, handle: LoadHandle, key: Sequence[str]) -> None:
    """Make the key columns the staging table's primary key; raises UniqueViolationError when two rows share one."""
    columns = ", ".join(quote_identifier(name) for name in key)
    await connection.execute(f"alter table {quoted(LEDGER_SCHEMA, handle.staging_table)} add primary key ({columns})")


async def add_unique_index(connection: asyncpg.Connection, handle: LoadHandle, number: int, index: UniqueIndex) -> None:
    """Create the target's unique index on the staging table; raises UniqueViolationError when two rows violate it."""
    await connection.execute(
        f"create unique index if not exists {quote_identifier(f'{handle.staging_table}_unique_{number}')} "
        f"on {quoted(LEDGER_SCHEMA, handle.staging_table)} using {index.definition}"
    )
