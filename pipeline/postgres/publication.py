"""Make a staging table's rows visible: attached as a partition, swapped for the whole table, or written into it.

Attaching and swapping move no row. A table that others hang on (views, foreign keys, triggers, indexes of its own) is written
into instead, which costs the rows twice but leaves it the table it was. No function commits.
"""

import contextlib
import hashlib
import re
from collections.abc import Sequence

import asyncpg

from pipeline.errors import TargetMismatch
from pipeline.model.division import Partition
from pipeline.model.table import QualifiedName
from pipeline.postgres.catalogue import (
    BOUNDS_CONSTRAINT,
    LEDGER_SCHEMA,
    OWN_BOUNDS_CONSTRAINT,
    Target,
    drop_staging,
    partition_bounds,
    partition_predicate,
    quoted,
)
from pipeline.postgres.chunk_ledger import LoadHandle
from pipeline.postgres.queries import query, quote_identifier
from pipeline.postgres.session import transaction

__all__ = [
    "ensure_partition",
    "insert_statement",
    "lock_target",
    "lock_target_against_writers",
    "publish_by_attach",
    "publish_by_insert",
    "publish_by_swap",
    "read_swap_obstacles",
    "same_key",
]

_IDENTIFIER_BYTES_MAX = 63
_KEY_CHARACTERS_MAX = 30  # of a partition's name


async def publish_by_attach(
    connection: asyncpg.Connection, target: Target, handle: LoadHandle, partition: Partition, *, replaces: bool
) -> bool:
    """Make the staging table the partition, in place of the one that is there now if it `replaces`.

    False, and nothing is changed, where that would leave something out: triggers that are to see the rows, a partition of other
    bounds or divided further, rows of others. The caller sets lock_timeout: where a partition is replaced, the parent is locked
    against readers from the first statement to the commit.
    """
    if await connection.fetch(query("triggers_and_rules"), target.oid):
        return False
    parent = quoted(target.name.schema_name, target.name.table)
    bounds = partition_bounds(target, partition)
    attached = await connection.fetch(query("attached_partitions"), target.oid, bounds)
    old = next((found for found in attached if not found["is_default"]), None)
    if old is not None and not (replaces and old["is_plain"]):
        return False
    statements = []
    if old is not None:
        old_name = quoted(old["schema_name"], old["table_name"])
        # Parent first, as readers do: the other order would deadlock with them.
        statements.append(f"lock table {parent} in access exclusive mode")
        statements.append(f"alter table {parent} detach partition {old_name}")
        statements.append(f"drop table {old_name}")
    if replaces and len(attached) > (old is not None):  # rows of this partition may have gone to the one for all others
        statements.append(f"delete from {parent} where {partition_predicate(target, partition)}")  # noqa: S608 - quoted
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    child = _child_name(target.name, partition)
    renamed = quoted(LEDGER_SCHEMA, child)
    moved = quoted(target.name.schema_name, child)
    statements += [
        f"alter table {staging} alter column {quote_identifier(name)} drop default" for name in target.sequences
    ]
    statements += [
        f"alter table {staging} rename to {quote_identifier(child)}",
        f"alter table {renamed} set schema {quote_identifier(target.name.schema_name)}",
        f"alter table {parent} attach partition {moved} {bounds}",
        f"alter table {moved} drop constraint {BOUNDS_CONSTRAINT}",
        f"alter table {moved} drop constraint if exists {OWN_BOUNDS_CONSTRAINT}",
    ]
    try:
        async with transaction(connection):
            await connection.execute(";\n".join(statements))
    except (
        asyncpg.InvalidObjectDefinitionError,  # other partitions overlap
        asyncpg.DependentObjectsStillExistError,  # something hangs on the partition that would be dropped
        asyncpg.IntegrityConstraintViolationError,  # rows of others refer to it, or stand in the one for all others
    ):
        return False
    return True


async def ensure_partition(connection: asyncpg.Connection, target: Target, partition: Partition) -> None:
    """An empty partition for the rows, where the table is divided as they are and has no place for them yet."""
    if not target.takes_partitions_of(partition):
        return
    bounds = partition_bounds(target, partition)
    if await connection.fetch(query("attached_partitions"), target.oid, bounds):
        return
    child = quoted(target.name.schema_name, _child_name(target.name, partition))
    parent = quoted(target.name.schema_name, target.name.table)
    # A partition of other bounds takes the rows, or the one for all others has some of them.
    with contextlib.suppress(asyncpg.InvalidObjectDefinitionError, asyncpg.CheckViolationError):
        async with transaction(connection):
            await connection.execute(f"create table {child} partition of {parent} {bounds}")


async def publish_by_insert(
    connection: asyncpg.Connection, target: Target, handle: LoadHandle, partition: Partition
) -> int:
    """Replace the partition's rows one by one; returns the number inserted.

    Raises TargetMismatch where the rows that go would take rows of other tables along.
    """
    predicate = partition_predicate(target, partition) or "true"
    delete = f"delete from {target.sql} where {predicate}"  # noqa: S608 - identifiers are quoted
    if await connection.fetchval(query("is_referenced"), target.oid):
        along = [row[0] for row in await connection.fetch(query("dependants_deleted_along"), target.oid)]
        if along and await connection.fetchval(f"select exists (select from {target.sql} where {predicate})"):  # noqa: S608
            raise TargetMismatch(
                f"target {target.name}: replacing its rows would delete or change rows that refer to them (foreign key "
                f"{', '.join(along)}); choose write mode upsert, or make the foreign key ON DELETE NO ACTION"
            )
        # In one statement: a row that comes back may be referred to all the while.
        insert = f"{insert_statement(target, handle)} where (select count(*) from gone) >= 0"  # noqa: S608 - quoted
        inserted = await connection.execute(f"with gone as ({delete} returning 1) {insert}")
    else:
        await connection.execute(delete)
        inserted = await connection.execute(insert_statement(target, handle))
    await drop_staging(connection, handle.staging_table)
    return int(inserted.split()[-1])


def insert_statement(
    target: Target, handle: LoadHandle, *, upsert_on: Sequence[str] = (), where: str | None = None
) -> str:
    """INSERT of the staged rows, or of those for which `where` holds.

    A row whose key is there already is updated where `upsert_on` names the key.
    """
    name = quoted(target.name.schema_name, target.name.table)
    names = [quote_identifier(column.name) for column in target.columns]
    columns = ", ".join(names)
    statement = (
        # Identity columns that the contract has are the source's, not the server's.
        f"insert into {name} ({columns}) overriding system value "  # noqa: S608 - identifiers are quoted
        f"select {columns} from {quoted(LEDGER_SCHEMA, handle.staging_table)}"
    )
    if where is not None:
        statement = f"{statement} where {where}"
    if not upsert_on:
        return statement
    key = ", ".join(quote_identifier(column) for column in upsert_on)
    # The key too: two keys may be equal and not the same, as 1.0 and 1.00.
    changed = [name for name in names if name not in map(quote_identifier, target.identities)]
    changes = ", ".join(f"{column} = excluded.{column}" for column in changed)
    # Without a condition `on` would be read as that of a join.
    return f"{statement}{' where true' if where is None else ''} on conflict ({key}) do update set {changes}"


def same_key(key: Sequence[str], one: str, other: str) -> str:
    """SQL that is true where rows of two relations have the same key, which is never null."""
    columns = [quote_identifier(column) for column in key]
    return " and ".join(f"{one}.{column} = {other}.{column}" for column in columns)


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


async def lock_target_against_writers(connection: asyncpg.Connection, target: Target) -> None:
    """Let others read the target, but not write to it, until the transaction ends."""
    await connection.execute(
        f"lock table {quoted(target.name.schema_name, target.name.table)} in share row exclusive mode"
    )


def _child_name(target: QualifiedName, partition: Partition) -> str:
    """`flights_2013_01_01`, within the 63 bytes of an identifier."""
    key = re.sub(r"\W", "_", partition.key, flags=re.ASCII)
    if partition.window is None and (key != partition.key or len(key) > _KEY_CHARACTERS_MAX):
        # Two keys may become the same name.
        key = f"{key[:_KEY_CHARACTERS_MAX]}_{hashlib.sha256(partition.key.encode()).hexdigest()[:8]}"
    suffix = f"_{key}"
    prefix = target.table.encode()[: _IDENTIFIER_BYTES_MAX - len(suffix.encode())].decode(errors="ignore")
    return prefix + suffix
