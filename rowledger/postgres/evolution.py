"""Columns that a target has or gets in addition to its contract's. No function commits.

The target gets them in the transaction that publishes the first rows that have them. Until then only the load's staging table
has them, so a load that fails leaves the target as it was.
"""

from collections.abc import Sequence
from dataclasses import replace

import asyncpg

from rowledger.errors import MissingPrivilege, SourceError, TargetMismatch
from rowledger.postgres.catalogue import Target
from rowledger.postgres.matching import column_type_of
from rowledger.postgres.queries import LEDGER_SCHEMA, query, quote_identifier, quoted
from rowledger.spec import TABLE_COLUMNS_MAX, Column, LoadHandle

__all__ = ["add_columns", "align_staging", "plan_columns", "with_columns"]


async def plan_columns(connection: asyncpg.Connection, target: Target, columns: Sequence[Column]) -> Target:
    """The target with these nullable columns after its own: those that the table has with its types, the others as `added`.

    Raises TargetMismatch, MissingPrivilege, and SourceError for more columns than a table can have.
    """
    has = {row["name"] for row in await connection.fetch(query("relation_columns"), target.oid)}
    target = await with_columns(connection, target, [column.name for column in columns if column.name in has])
    added = tuple(column for column in columns if column.name not in has and column.name not in target.column_types)
    if (wanted := len(has) + len(target.added) + len(added)) > TABLE_COLUMNS_MAX:
        raise SourceError(
            f"the source's new columns would make {wanted:,} columns of target {target.name}, PostgreSQL takes "
            f"{TABLE_COLUMNS_MAX:,}; leave some out of the source, or discard them (drift=Drift.DISCARD_VALUE)"
        )
    if added and not await connection.fetchval(query("is_owner"), target.oid):
        raise _not_the_owner(target, added)
    return replace(target, columns=(*target.columns, *added), added=(*target.added, *added))


async def with_columns(connection: asyncpg.Connection, target: Target, names: Sequence[str]) -> Target:
    """The target with these columns of the table too, in the table's types; raises TargetMismatch for one that it lacks."""
    wanted = [name for name in names if name not in target.column_types]
    if not wanted:
        return target
    found = {row["name"]: row for row in await connection.fetch(query("relation_columns"), target.oid)}
    columns: list[Column] = []
    for name in wanted:
        row = found.get(name)
        column_type = column_type_of(row) if row is not None else None
        if row is None or column_type is None or row["generated"]:
            what = "is missing" if row is None else f"is {row['declared_type']}, which cannot be written"
            raise TargetMismatch(f"target table {target.name}: column {name} {what}; alter the table or rerun the load")
        columns.append(Column(name, column_type, nullable=not row["not_null"]))
    return replace(target, columns=(*target.columns, *columns))


async def align_staging(connection: asyncpg.Connection, target: Target, handle: LoadHandle) -> None:
    """Add to the staging table the columns that the target has gained since, and those that the target will gain from it.

    Raises TargetMismatch where another load has added a column to the target in another type than the staging table has.
    """
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    oid = await connection.fetchval("select to_regclass($1)::oid", staging)
    has = {row["name"]: row["declared_type"] for row in await connection.fetch(query("relation_columns"), oid)}
    rows = await connection.fetch(query("relation_columns"), target.oid)
    wanted = {row["name"]: row["declared_type"] for row in rows if not row["generated"]}
    wanted = {column.name: column.type.sql for column in target.added} | wanted
    missing = [
        f"add column {quote_identifier(name)} {type_sql}" for name, type_sql in wanted.items() if name not in has
    ]
    if missing:
        await connection.execute(f"alter table {staging} {', '.join(missing)}")
    odd = [
        f"{name} as {has[name]}, the table has it as {type_sql}"
        for name, type_sql in wanted.items()
        if has.get(name, type_sql) != type_sql
    ]
    if odd:
        raise TargetMismatch(
            f"the load has staged column {'; '.join(odd)}: another load was the first to bring it; rerun this one"
        )


async def add_columns(connection: asyncpg.Connection, target: Target, handle: LoadHandle) -> None:
    """Add the columns in `added` to the target, in the transaction that publishes; it then has the staging table's columns.

    Raises TargetMismatch as `align_staging` does, and MissingPrivilege.
    """
    # One load at a time: no column may be added to the target after the staging table was compared with it.
    await connection.execute("select pg_advisory_xact_lock(hashtext($1))", f"rowledger {target.name}")
    await align_staging(connection, target, handle)
    if target.added:
        try:
            await connection.execute(_statement(target, target.added))
        except asyncpg.InsufficientPrivilegeError:
            raise _not_the_owner(target, target.added) from None


def _statement(target: Target, columns: Sequence[Column]) -> str:
    # `if not exists`: another load may have added it.
    added = (f"add column if not exists {quote_identifier(column.name)} {column.type.sql}" for column in columns)
    return f"alter table {quoted(*target.name.parts)} {', '.join(added)}"


def _not_the_owner(target: Target, columns: Sequence[Column]) -> MissingPrivilege:
    statement = _statement(target, columns)
    return MissingPrivilege(
        f"target table {target.name} lacks columns that the source has ({', '.join(column.name for column in columns)}), and "
        f"this role does not own the table. Its owner runs: {statement}; then rerun",
        statements=[statement],
    )
