"""Make a staging table's rows visible: attached as a partition, swapped for the whole table, or copied into it.

Attaching and swapping move no row. A table that others hang on (views, foreign keys, indexes of its own) is copied into
instead, which costs the rows twice but leaves it the table it was. No function commits.
"""

import contextlib

import asyncpg

from pipeline.model.partition import Partition
from pipeline.model.table import QualifiedName
from pipeline.postgres.catalogue import (
    BOUNDS_CONSTRAINT,
    LEDGER_SCHEMA,
    Target,
    bound_texts,
    drop_staging,
    partition_predicate,
    quoted,
)
from pipeline.postgres.ledger import LoadHandle
from pipeline.postgres.queries import query, quote_identifier
from pipeline.postgres.session import transaction

__all__ = ["lock_target", "publish_by_attach", "publish_by_insert", "publish_by_swap", "read_swap_obstacles"]

_IDENTIFIER_BYTES_MAX = 63


async def publish_by_attach(
    connection: asyncpg.Connection, target: Target, handle: LoadHandle, partition: Partition
) -> None:
    """Make the staging table the partition, in place of the one that is there now.

    The caller sets lock_timeout: the parent is locked against readers from the first statement to the commit.
    """
    parent = quoted(target.name.schema_name, target.name.table)
    lower, upper = bound_texts(target, partition)
    old = await connection.fetchrow(query("attached_partition"), target.oid, lower, upper)
    statements = []
    if old is not None:
        old_name = quoted(old["schema_name"], old["table_name"])
        # Parent first, as readers do: the other order would deadlock with them.
        statements.append(f"lock table {parent} in access exclusive mode")
        statements.append(f"alter table {parent} detach partition {old_name}")
        statements.append(f"drop table {old_name}")
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    child = _child_name(target.name, partition)
    renamed = quoted(LEDGER_SCHEMA, child)
    moved = quoted(target.name.schema_name, child)
    statements += [
        f"alter table {staging} rename to {quote_identifier(child)}",
        f"alter table {renamed} set schema {quote_identifier(target.name.schema_name)}",
        f"alter table {parent} attach partition {moved} for values from ('{lower}') to ('{upper}')",
        f"alter table {moved} drop constraint {BOUNDS_CONSTRAINT}",
    ]
    await connection.execute(";\n".join(statements))


async def publish_by_insert(
    connection: asyncpg.Connection, target: Target, handle: LoadHandle, partition: Partition
) -> tuple[int, int]:
    """Replace the partition's rows in a table that is not partitioned our way: (rows deleted, rows inserted)."""
    name = quoted(target.name.schema_name, target.name.table)
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    predicate = partition_predicate(target, partition) or "true"
    columns = ", ".join(quote_identifier(column.name) for column in target.columns)
    deleted = await connection.execute(f"delete from {name} where {predicate}")  # noqa: S608 - identifiers are quoted
    inserted = await connection.execute(
        f"insert into {name} ({columns}) select {columns} from {staging}"  # noqa: S608
    )
    await drop_staging(connection, handle.staging_table)
    return int(deleted.split()[-1]), int(inserted.split()[-1])


async def read_swap_obstacles(connection: asyncpg.Connection, target: Target, handle: LoadHandle) -> list[str]:
    """What keeps the staging table from taking the target's place; empty when nothing does."""
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    name = quoted(target.name.schema_name, target.name.table)
    rows = await connection.fetch(query("swap_obstacles"), target.oid, staging, name)
    return [row["obstacle"] for row in rows]


async def publish_by_swap(connection: asyncpg.Connection, target: Target, handle: LoadHandle) -> None:
    """Put the staging table in the place of a table that is loaded whole and that nothing hangs on.

    The caller has locked the target and found no obstacle.
    """
    name, staging = quoted(target.name.schema_name, target.name.table), quoted(LEDGER_SCHEMA, handle.staging_table)
    for grant in await connection.fetch(query("grant_statements"), target.oid, staging):
        await connection.execute(grant["statement"])
    # A name that neither the ledger's schema nor the target's has: the ledger has a table `load`, a user may have another.
    passing = f"rowledger_{handle.staging_table}"
    await connection.execute(
        f"drop table {name};"
        f"alter table {staging} rename to {quote_identifier(passing)};"
        f"alter table {quoted(LEDGER_SCHEMA, passing)} set schema {quote_identifier(target.name.schema_name)};"
        f"alter table {quoted(target.name.schema_name, passing)} rename to {quote_identifier(target.name.table)}"
    )
    if await connection.fetchval(query("has_primary_key"), name):
        # The name people expect; if something else has it, the key keeps the staging table's.
        with contextlib.suppress(asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError):
            async with transaction(connection):
                await connection.execute(
                    f"alter table {name} rename constraint {quote_identifier(f'{handle.staging_table}_pkey')} "
                    f"to {quote_identifier(f'{target.name.table}_pkey')}"
                )


async def lock_target(connection: asyncpg.Connection, target: Target) -> None:
    """Keep everybody else off the target until the transaction ends."""
    await connection.execute(
        f"lock table {quoted(target.name.schema_name, target.name.table)} in access exclusive mode"
    )


def _child_name(target: QualifiedName, partition: Partition) -> str:
    """`flights_2013_01_01`, within the 63 bytes of an identifier."""
    suffix = "_" + partition.key.replace("-", "_")
    prefix = target.table.encode()[: _IDENTIFIER_BYTES_MAX - len(suffix.encode())].decode(errors="ignore")
    return prefix + suffix
