"""Columns that a target gets, or has, beside those of its contract. No function commits."""

from collections.abc import Sequence
from dataclasses import replace

import asyncpg

from pipeline.errors import MissingPrivilege, TargetMismatch
from pipeline.model.column import Column
from pipeline.postgres.catalogue import LEDGER_SCHEMA, Target, column_type_of, quoted
from pipeline.postgres.chunk_ledger import LoadHandle
from pipeline.postgres.queries import query, quote_identifier

__all__ = ["add_columns", "align_staging", "with_columns"]


async def add_columns(connection: asyncpg.Connection, target: Target, columns: Sequence[Column]) -> Target:
    """The target with these nullable columns behind its own, added where it does not have them yet; raises TargetMismatch."""
    await _add_missing(connection, quoted(target.name.schema_name, target.name.table), target.oid, columns)
    return await with_columns(connection, target, [column.name for column in columns])


async def with_columns(connection: asyncpg.Connection, target: Target, names: Sequence[str]) -> Target:
    """The target with further columns that it has, in their types there; raises TargetMismatch for one that it lacks."""
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
    """Give the staging table what the target has got since it was made: a neighbour may have brought a column."""
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    oid = await connection.fetchval("select to_regclass($1)::oid", staging)
    has = {row["name"] for row in await connection.fetch(query("relation_columns"), oid)}
    rows = await connection.fetch(query("relation_columns"), target.oid)
    for row in rows:
        if row["name"] not in has and not row["generated"]:
            await connection.execute(
                f"alter table {staging} add column {quote_identifier(row['name'])} {row['declared_type']}"
            )


async def _add_missing(connection: asyncpg.Connection, table: str, oid: int, columns: Sequence[Column]) -> None:
    has = {row["name"] for row in await connection.fetch(query("relation_columns"), oid)}
    for column in columns:
        if column.name not in has:
            # `if not exists`, for a neighbour may be adding it right now.
            statement = (
                f"alter table {table} add column if not exists {quote_identifier(column.name)} {column.type.sql}"
            )
            try:
                await connection.execute(statement)
            except asyncpg.InsufficientPrivilegeError:
                raise MissingPrivilege(
                    f"target table {table} lacks column {column.name}, which the source has, and this role does not own the "
                    f"table; nothing was written. Its owner runs: {statement}; then rerun",
                    statements=[statement],
                ) from None
