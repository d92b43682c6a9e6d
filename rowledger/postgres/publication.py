"""Make a staging table's rows visible: attached as a partition, swapped for the whole table, or written into it.

Attaching and swapping move no rows. A table that has views, foreign keys, triggers or other indexes is written into instead:
this writes the rows twice, but keeps the table. No function commits.
"""

import contextlib
import hashlib
import itertools
import re
from collections.abc import Sequence

import asyncpg

from rowledger.errors import TargetMismatch
from rowledger.postgres.bounds import partition_bounds, partition_predicate
from rowledger.postgres.catalogue import Target
from rowledger.postgres.queries import LEDGER_SCHEMA, query, quote_identifier, quoted
from rowledger.postgres.replacement import (
    read_attach_obstacle,
    read_attached,
    read_grants,
    read_obstacle_beside,
    read_swap_obstacle,
)
from rowledger.postgres.sqlstate import summarize
from rowledger.postgres.staging import BOUNDS_CONSTRAINT, OWN_BOUNDS_CONSTRAINT, drop_staging
from rowledger.postgres.transactions import transaction
from rowledger.spec import LoadHandle, Partition, QualifiedName

__all__ = [
    "create_partition_statement",
    "ensure_partition",
    "insert_statement",
    "lock_target_against_writers",
    "publish_by_attach",
    "publish_by_insert",
    "publish_by_swap",
    "same_key",
]

_IDENTIFIER_BYTES_MAX = 63
_KEY_CHARACTERS_MAX = 30  # of a partition's name


async def publish_by_attach(
    connection: asyncpg.Connection,
    target: Target,
    handle: LoadHandle,
    partition: Partition,
    *,
    replaces: bool,
    unless: Exception | None = None,
) -> str | None:
    """Attach the staging table as the partition; if `replaces`, drop the one that is there. Returns None when it is done.

    The caller has found no obstacle of the rows. Where there is another one, nothing is changed or locked, and the result names
    it; otherwise `unless` is raised, if it is given. The caller sets lock_timeout: where a partition is replaced, the parent is
    locked against readers from here to the commit.
    """
    if not replaces and (await read_attached(connection, target, partition)).old is not None:
        return ""  # known without the lock, which rows that are only added do not need
    parent, free_name = quoted(*target.name.parts), await _free_child_name(connection, target.name, partition)
    try:
        # ATTACH takes this lock. With it, no other session changes the partitions between the look at them and ATTACH: the
        # server reads the bounds of all of them again after each such change. Other partitions of the run wait for it, so
        # no more is asked here than has to be.
        async with transaction(connection, f"lock table only {parent} in share update exclusive mode"):
            attached = await read_attached(connection, target, partition)
            _require_none(
                await read_obstacle_beside(connection, target, handle, partition, attached, replaces=replaces)
            )
            if unless is not None:
                raise unless
            if (old := attached.old) is not None:
                # The parent first, as readers lock it: the other order would deadlock with them. Only the parent and this
                # partition: locks on all partitions may be more than the server has room for.
                await connection.execute(
                    f"lock table only {parent} in access exclusive mode;"
                    f"lock table {quoted(old['schema_name'], old['table_name'])} in access exclusive mode"
                )
                _require_none(await read_attach_obstacle(connection, target, handle, partition, replaces=replaces))
            await _attach(connection, target, handle, partition, old, free_name)
    except _NotMoved as refusal:
        return str(refusal)
    except (
        asyncpg.InvalidObjectDefinitionError,  # other partitions overlap
        asyncpg.DependentObjectsStillExistError,  # something depends on the partition that would be dropped
        asyncpg.InsufficientPrivilegeError,  # a part of the table belongs to another role
        asyncpg.IntegrityConstraintViolationError,  # rows of other tables refer to it, or the DEFAULT partition has its rows
    ) as error:
        return summarize(error)
    return None


async def _attach(
    connection: asyncpg.Connection,
    target: Target,
    handle: LoadHandle,
    partition: Partition,
    old: asyncpg.Record | None,
    free_name: str,
) -> None:
    parent = quoted(*target.name.parts)
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    statements = []
    if old is None:
        schema, child = target.name.schema_name, free_name
    else:
        schema, child = old["schema_name"], old["table_name"]  # queries on the partition's name find the new rows
        statements += await read_grants(connection, old["oid"], staging)
        statements.append(f"alter table {parent} detach partition {quoted(schema, child)}")
        statements.append(f"drop table {quoted(schema, child)}")
    statements += [
        f"alter table {staging} alter column {quote_identifier(name)} drop default" for name in target.sequences
    ]
    moved = quoted(schema, child)
    statements += [
        *_moves(handle, schema, child),
        f"alter table {parent} attach partition {moved} {partition_bounds(target, partition)}",
        f"alter table {moved} drop constraint {BOUNDS_CONSTRAINT}, drop constraint if exists {OWN_BOUNDS_CONSTRAINT}",
    ]
    await connection.execute(";\n".join(statements))


async def ensure_partition(connection: asyncpg.Connection, target: Target, partition: Partition) -> None:
    """Add an empty partition for the rows, where the table is partitioned to match and has no partition for them yet.

    The partition is created as a table and attached: CREATE TABLE … PARTITION OF would wait for every reader of the table.
    """
    if not target.takes_partitions_of(partition):
        return
    attached = await read_attached(connection, target, partition)
    if attached.old is not None:
        return
    child = quoted(target.name.schema_name, await _free_child_name(connection, target.name, partition))
    parent = quoted(*target.name.parts)
    taken: list[type[Exception]] = [
        asyncpg.InvalidObjectDefinitionError,  # a partition with other bounds takes the rows
        asyncpg.CheckViolationError,  # the DEFAULT partition has some of them
    ]
    if attached.default is not None:
        taken.append(asyncpg.LockNotAvailableError)  # another session reads the DEFAULT partition, which takes the rows
    with contextlib.suppress(*taken):
        async with transaction(connection):
            await connection.execute(
                f"create table {child} "
                f"(like {parent} including all excluding indexes excluding identity excluding statistics);"
                f"alter table {parent} attach partition {child} {partition_bounds(target, partition)}"
            )


def create_partition_statement(target: Target, partition: Partition) -> str:
    """CREATE TABLE of an empty partition for the rows, for the owner of a table that is partitioned to match."""
    child = quoted(target.name.schema_name, _child_name(target.name, partition, ""))
    parent = quoted(*target.name.parts)
    return f"create table {child} partition of {parent} {partition_bounds(target, partition)}"


async def publish_by_insert(
    connection: asyncpg.Connection, target: Target, handle: LoadHandle, partition: Partition
) -> int:
    """Delete the partition's rows and insert the staged ones; returns the number inserted.

    Raises TargetMismatch where deleting the rows would delete or change rows of other tables.
    """
    predicate = partition_predicate(target, partition)
    delete = f"delete from {target.sql} where {predicate}"  # noqa: S608 - identifiers are quoted
    if await connection.fetchval(query("is_referenced"), target.oid):
        along = [row[0] for row in await connection.fetch(query("dependants_deleted_along"), target.oid)]
        if along and await connection.fetchval(f"select exists (select from {target.sql} where {predicate})"):  # noqa: S608
            raise TargetMismatch(
                f"target {target.name}: replacing its rows would delete or change rows that refer to them (foreign key "
                f"{', '.join(along)}); choose write mode upsert, or make the foreign key ON DELETE NO ACTION"
            )
        await ensure_partition(connection, target, partition)
        # In one statement: other rows may refer to a row that is deleted and inserted again.
        insert = f"{insert_statement(target, handle)} where (select count(*) from gone) >= 0"  # noqa: S608 - quoted
        inserted = await connection.execute(f"with gone as ({delete} returning 1) {insert}")
    else:
        await connection.execute(delete)
        # After the delete, so that the DEFAULT partition has none of the rows.
        await ensure_partition(connection, target, partition)
        inserted = await connection.execute(insert_statement(target, handle))
    await drop_staging(connection, handle.staging_table)
    return int(inserted.split()[-1])


def insert_statement(target: Target, handle: LoadHandle, *, updates: bool = False, where: str | None = None) -> str:
    """INSERT of the staged rows, or of those for which `where` holds.

    If it `updates`, a row whose key exists already is updated, as an upsert wants it.
    """
    name = quoted(*target.name.parts)
    names = [quote_identifier(column.name) for column in target.columns]
    columns = ", ".join(names)
    statement = (
        # Identity columns that the contract has get their values from the source, not from the server.
        f"insert into {name} ({columns}) overriding system value "  # noqa: S608 - identifiers are quoted
        f"select {columns} from {quoted(LEDGER_SCHEMA, handle.staging_table)}"
    )
    if where is not None:
        statement = f"{statement} where {where}"
    if not updates:
        return statement
    # Without collations, every unique index on these columns would decide, also one that ignores case.
    arbiter = next(index for index in target.key_indexes if index.is_valid and index.immediate)
    key = ", ".join(arbiter.expressions)
    # The key is set too: two keys may be equal but not identical, such as 1.0 and 1.00.
    changed = [name for name in names if name not in map(quote_identifier, target.identities)]
    changes = ", ".join(f"{column} = excluded.{column}" for column in changed)
    # Without a WHERE clause, PostgreSQL would read `on` as a join condition.
    return f"{statement}{' where true' if where is None else ''} on conflict ({key}) do update set {changes}"


def same_key(key: Sequence[str], one: str, other: str) -> str:
    """SQL that is true where rows of two relations have the same key. A key is never null."""
    columns = [quote_identifier(column) for column in key]
    return " and ".join(f"{one}.{column} = {other}.{column}" for column in columns)


async def publish_by_swap(connection: asyncpg.Connection, target: Target, handle: LoadHandle) -> str | None:
    """Replace a table that is loaded as a whole, and on which nothing depends, by the staging table. Returns None when done.

    Otherwise nothing is changed or locked, and the result says why.
    """
    name, staging = quoted(*target.name.parts), quoted(LEDGER_SCHEMA, handle.staging_table)
    try:
        async with transaction(connection):
            await connection.execute(f"lock table only {name} in access exclusive mode")
            _require_none(await read_swap_obstacle(connection, target, handle))
            key = await connection.fetchval(query("primary_key_constraint"), target.oid)
            statements = [
                *await read_grants(connection, target.oid, staging),
                f"drop table {name}",
                *_moves(handle, target.name.schema_name, target.name.table),
            ]
            if key is not None:
                statements.append(
                    f"alter table {name} rename constraint {quote_identifier(f'{handle.staging_table}_pkey')} "
                    f"to {quote_identifier(key)}"
                )
            await connection.execute(";\n".join(statements))
    except _NotMoved as refusal:
        return str(refusal)
    except asyncpg.DependentObjectsStillExistError as error:  # an object that the catalogue query does not look for
        return summarize(error)
    return None


class _NotMoved(Exception):
    """The staging table cannot replace the existing table."""


def _require_none(obstacle: str | None) -> None:
    if obstacle is not None:
        raise _NotMoved(obstacle)


def _moves(handle: LoadHandle, schema_name: str, table: str) -> list[str]:
    """Statements that move the staging table to this schema, under this name.

    In between it has a name that neither schema uses: the ledger has a table `load`, and a user may have one too.
    """
    passing = f"rowledger_{handle.staging_table}"
    return [
        f"alter table {quoted(LEDGER_SCHEMA, handle.staging_table)} rename to {quote_identifier(passing)}",
        f"alter table {quoted(LEDGER_SCHEMA, passing)} set schema {quote_identifier(schema_name)}",
        f"alter table {quoted(schema_name, passing)} rename to {quote_identifier(table)}",
    ]


async def lock_target_against_writers(
    connection: asyncpg.Connection, target: Target, partition: Partition | None = None
) -> None:
    """Let other sessions read the target, but not write to it, until the transaction ends.

    Where only a partition's rows are written and the table is partitioned to match, the table, that partition and the DEFAULT
    partition are locked. Otherwise all partitions are locked, which costs the server a lock for each.
    """
    only = partition is not None and target.takes_partitions_of(partition)
    await connection.execute(
        f"lock table {'only ' if only else ''}{quoted(*target.name.parts)} in share row exclusive mode"
    )
    if partition is not None and only:
        found = await read_attached(connection, target, partition)
        for one in (found.old, found.default):
            if one is not None:
                name = quoted(one["schema_name"], one["table_name"])
                await connection.execute(f"lock table {name} in share row exclusive mode")


async def _free_child_name(connection: asyncpg.Connection, target: QualifiedName, partition: Partition) -> str:
    """The partition's name, followed by a number where another table has the name, such as one that was detached."""
    for number in itertools.count(1):
        name = _child_name(target, partition, "" if number == 1 else f"_{number}")
        if await connection.fetchval("select to_regclass($1) is null", quoted(target.schema_name, name)):
            return name
    raise AssertionError("numbers do not end")


def _child_name(target: QualifiedName, partition: Partition, ending: str) -> str:
    """The name, such as `flights_2013_01_01`, with the ending, within the 63 bytes of an identifier."""
    key = re.sub(r"\W", "_", partition.key, flags=re.ASCII)
    if partition.window is None and (key != partition.key or len(key) > _KEY_CHARACTERS_MAX):
        # Two keys may give the same name.
        key = f"{key[:_KEY_CHARACTERS_MAX]}_{hashlib.sha256(partition.key.encode()).hexdigest()[:8]}"
    suffix = f"_{key}{ending}"
    prefix = target.table.encode()[: _IDENTIFIER_BYTES_MAX - len(suffix.encode())].decode(errors="ignore")
    return prefix + suffix
