"""The target table and the staging tables: read, create, compare. No function commits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import asyncpg

from pipeline.errors import TargetMismatch
from pipeline.model.column import Column, ColumnType, TypeName
from pipeline.model.partition import Partition
from pipeline.model.table import QualifiedName, TableSpec
from pipeline.postgres.ledger import LoadHandle
from pipeline.postgres.queries import query, quote_identifier

__all__ = [
    "BOUNDS_CONSTRAINT",
    "LEDGER_SCHEMA",
    "Target",
    "add_key",
    "bound_texts",
    "create_staging",
    "drop_staging",
    "ensure_target",
    "has_key",
    "partition_predicate",
    "quoted",
    "read_ended_staging_tables",
]

LEDGER_SCHEMA = "rowledger"
BOUNDS_CONSTRAINT = "rowledger_bounds"


@dataclass(frozen=True, slots=True)
class Target:
    """The target table as it is in the database.

    `columns` are those that Rowledger writes, in the contract's order with the table's types. `partitioned_by` is the
    column of a table that is range-partitioned on one column.
    """

    oid: int
    name: QualifiedName
    columns: tuple[Column, ...]
    partitioned_by: str | None

    @property
    def column_types(self) -> dict[str, ColumnType]:
        return {column.name: column.type for column in self.columns}

    def takes_partitions_of(self, partition: Partition) -> bool:
        """Whether a staging table can be attached as this partition, without copying a row."""
        return partition.column is not None and partition.column == self.partitioned_by


def quoted(schema_name: str, table_name: str) -> str:
    """`"schema"."table"`."""
    return f"{quote_identifier(schema_name)}.{quote_identifier(table_name)}"


async def ensure_target(connection: asyncpg.Connection, spec: TableSpec, contract: Sequence[Column]) -> Target:
    """The target table, created from the contract where it is missing; raises TargetMismatch where columns differ.

    Whether each column's type can hold what the contract lets through is the contract's to say.
    """
    found = await connection.fetchrow(query("find_relation"), spec.target.schema_name, spec.target.table)
    if found is None:
        # Two runs may see it missing: the lock lets the second find what the first has made.
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock(hashtext($1))", f"rowledger {spec.target}")
            found = await connection.fetchrow(query("find_relation"), spec.target.schema_name, spec.target.table)
            if found is None:
                await _create_target(connection, spec, contract)
                found = await connection.fetchrow(query("find_relation"), spec.target.schema_name, spec.target.table)
    if found["kind"] not in ("r", "p"):
        raise TargetMismatch(f"target {spec.target} is not a table; name another target in the table spec")
    is_ranged = found["strategy"] == "r" and found["key_columns"] == 1
    return Target(
        oid=found["oid"],
        name=spec.target,
        columns=await _matching_columns(connection, spec, contract, found["oid"]),
        partitioned_by=found["key_column"] if is_ranged else None,
    )


async def create_staging(
    connection: asyncpg.Connection, target: Target, handle: LoadHandle, partition: Partition
) -> None:
    """A logged table of the target's shape without indexes, which takes only rows of this partition."""
    constraint = ""
    if predicate := partition_predicate(target, partition):
        column = quote_identifier(partition.column or "")
        constraint = f", constraint {BOUNDS_CONSTRAINT} check ({column} is not null and {predicate})"
    await connection.execute(
        f"create table {quoted(LEDGER_SCHEMA, handle.staging_table)} ("
        f"like {quoted(target.name.schema_name, target.name.table)}"
        f" including all excluding indexes excluding identity excluding statistics{constraint})"
    )


async def drop_staging(connection: asyncpg.Connection, staging_table: str) -> None:
    """Drop a staging table, if it is still there."""
    await connection.execute(f"drop table if exists {quoted(LEDGER_SCHEMA, staging_table)}")


async def read_ended_staging_tables(connection: asyncpg.Connection) -> list[str]:
    """Staging tables of loads that have ended."""
    return [row["name"] for row in await connection.fetch(query("staging_tables"))]


async def has_key(connection: asyncpg.Connection, handle: LoadHandle) -> bool:
    """Whether the staging table has its primary key already."""
    return bool(await connection.fetchval(query("has_primary_key"), quoted(LEDGER_SCHEMA, handle.staging_table)))


async def add_key(connection: asyncpg.Connection, handle: LoadHandle, key: Sequence[str]) -> None:
    """Make the key columns the staging table's primary key; raises UniqueViolationError when two rows share one."""
    columns = ", ".join(quote_identifier(name) for name in key)
    await connection.execute(f"alter table {quoted(LEDGER_SCHEMA, handle.staging_table)} add primary key ({columns})")


def partition_predicate(target: Target, partition: Partition) -> str | None:
    """SQL that is true for exactly the partition's rows; None for a table that is loaded whole."""
    if partition.column is None:
        return None
    lower, upper = bound_texts(target, partition)
    column = quote_identifier(partition.column)
    type_sql = target.column_types[partition.column].sql
    return f"{column} >= '{lower}'::{type_sql} and {column} < '{upper}'::{type_sql}"


def bound_texts(target: Target, partition: Partition) -> tuple[str, str]:
    """The bounds as PostgreSQL prints them in UTC with ISO dates, so that they compare with pg_get_expr's text."""
    column_type = target.column_types[partition.column or ""]
    bounds = partition.bounds(column_type.name)
    assert bounds is not None  # noqa: S101 - callers have a partition column
    return _literal(bounds[0]), _literal(bounds[1])


def _literal(value: date | datetime) -> str:
    text = value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    return text.removesuffix(":00") if text.endswith("+00:00") else text


async def _create_target(connection: asyncpg.Connection, spec: TableSpec, contract: Sequence[Column]) -> None:
    for enum in {column.type.element for column in contract if column.type.name is TypeName.ENUM}:
        await _ensure_enum(connection, enum)
    lines = [
        f"{quote_identifier(column.name)} {column.type.sql}{'' if column.nullable else ' not null'}"
        for column in contract
    ]
    if spec.key:
        lines.append(f"primary key ({', '.join(quote_identifier(name) for name in spec.key)})")
    column: str | None = getattr(spec.partitions, "column", None)
    # A primary key of a partitioned table must hold the partition column; without it the table stays a plain one.
    is_partitioned = column is not None and (not spec.key or column in spec.key)
    suffix = f" partition by range ({quote_identifier(column)})" if column and is_partitioned else ""
    await connection.execute(f"create schema if not exists {quote_identifier(spec.target.schema_name)}")
    await connection.execute(
        f"create table {quoted(spec.target.schema_name, spec.target.table)} (\n  "
        + ",\n  ".join(lines)
        + f"\n){suffix}"
    )


async def _ensure_enum(connection: asyncpg.Connection, enum: ColumnType) -> None:
    """An enum that is there stays as it is, whatever its labels: they are read with the table's columns."""
    if await connection.fetchval("select to_regtype($1)", enum.element_sql) is None:
        labels = ", ".join(
            await connection.fetchval("select array_agg(quote_literal(l)) from unnest($1::text[]) l", enum.labels)
        )
        await connection.execute(f"create type {enum.element_sql} as enum ({labels})")


def _column_type(row: Mapping[str, Any], wanted: Column) -> ColumnType | None:
    """The type of a table's column, as this contract writes it."""
    labels = row["labels"]
    found = ColumnType.parse(row["type"], labels=tuple(labels) if labels else None, is_citext=row["is_citext"])
    if found is not None and wanted.type.name is TypeName.OTHER and not found.takes_text:
        return ColumnType(TypeName.OTHER, of=row["type"])  # the contract has its text form
    return found


async def _matching_columns(
    connection: asyncpg.Connection, spec: TableSpec, contract: Sequence[Column], oid: int
) -> tuple[Column, ...]:
    """The contract's columns with the table's types; raises TargetMismatch that lists every difference."""
    found = {row["name"]: row for row in await connection.fetch(query("relation_columns"), oid)}
    columns: list[Column] = []
    problems: list[str] = []
    for wanted in contract:
        row = found.pop(wanted.name, None)
        if row is None:
            problems.append(f"column {wanted.name} ({wanted.type.sql}) is missing")
            continue
        actual = _column_type(row, wanted)
        if row["generated"]:
            problems.append(f"column {wanted.name} is generated by the table and cannot be written")
        elif actual is None:
            problems.append(f"column {wanted.name} is {row['declared_type']}, which would cut values short unseen")
        elif wanted.nullable and row["not_null"]:
            problems.append(f"column {wanted.name} is not null, the contract allows null")
        else:
            columns.append(Column(wanted.name, actual, nullable=not row["not_null"]))
    problems += [
        f"column {name} ({row['declared_type']}) is not null, has no default and is not in the contract"
        for name, row in found.items()
        if row["not_null"] and not row["has_default"] and not row["generated"]
    ]
    if problems:
        raise TargetMismatch(
            f"target table {spec.target} does not fit the row model {spec.row.__name__}: {'; '.join(problems)}. "
            "Alter the table or the row model; nothing was written."
        )
    return tuple(columns)
