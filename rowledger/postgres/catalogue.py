"""Read the target table, create it from the contract, and compare it with the contract. No function commits."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import asyncpg

from rowledger.errors import TargetMismatch
from rowledger.postgres.constraints import ForeignKey, UniqueIndex, read_foreign_keys, read_unique_indexes
from rowledger.postgres.matching import match_columns
from rowledger.postgres.queries import query, quote_identifier, quote_literal, quoted
from rowledger.postgres.row_security import require_all_rows
from rowledger.postgres.transactions import transaction
from rowledger.spec import (
    Column,
    ColumnType,
    Equals,
    Partition,
    QualifiedName,
    TableSpec,
    TypeName,
    Window,
    WriteMode,
)

__all__ = ["Target", "creation_statement", "ensure_target", "is_outdated", "read_target"]


@dataclass(frozen=True, slots=True)
class Target:
    """The target table as it is in the database.

    `columns` are those that Rowledger writes, in the contract's order, with the table's types. `added` are those of them that
    the table gets only when the load is published; until then only the staging table has them. `strategy` is `r`, `l` or `h`
    for a table partitioned by range, list or hash; `partitioned_by` is its partition column if there is a single one.
    `key_indexes` are the unique indexes on the spec's key, `unique_indexes` all others. `identities` are the columns that the
    server numbers, with their sequences. `is_ours` means that this role owns the table and may create tables in its schema,
    which attaching and swapping need; in other tables the role inserts, updates and deletes.
    """

    oid: int
    name: QualifiedName
    columns: tuple[Column, ...]
    strategy: str | None = None
    partitioned_by: str | None = None
    unique_indexes: tuple[UniqueIndex, ...] = ()
    key_indexes: tuple[UniqueIndex, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    identities: Mapping[str, str] = field(default_factory=dict)
    is_ours: bool = True
    added: tuple[Column, ...] = ()

    @property
    def as_found(self) -> "Target":
        """The target with only the columns that the table has already."""
        return replace(self, columns=tuple(c for c in self.columns if c not in self.added), added=())

    @property
    def column_types(self) -> dict[str, ColumnType]:
        return {column.name: column.type for column in self.columns}

    @property
    def sql(self) -> str:
        """The quoted name for FROM and DELETE, which leaves out the rows of tables that inherit from the target."""
        name = quoted(*self.name.parts)
        return name if self.strategy else f"only {name}"

    @property
    def sequences(self) -> dict[str, str]:
        """The identity columns that the contract lacks and the server fills, with their sequences."""
        return {name: sequence for name, sequence in self.identities.items() if name not in self.column_types}

    def takes_partitions_of(self, partition: Partition) -> bool:
        """Whether a staging table can be attached as this partition: the target `is_ours`, and is partitioned to match."""
        return self.is_ours and self.is_divided_like(partition)

    def is_divided_like(self, partition: Partition) -> bool:
        """Whether the table is partitioned by the one column that defines the partition, in the same way."""
        return _division(partition) == (self.strategy, self.partitioned_by)


async def ensure_target(
    connection: asyncpg.Connection, spec: TableSpec, contract: Sequence[Column], partitions: Sequence[Partition]
) -> Target:
    """The target table, created from the contract where it is missing; raises TargetMismatch where columns differ.

    A table that is created is partitioned as the `partitions` are: by range for windows of one column, by list for keys in
    one column. Raises MissingPrivilege where row security could hide rows.

    The contract checks separately whether each column's type can hold the values that it accepts.
    """
    await _drop_outdated(connection, spec, contract, partitions)
    target = await read_target(connection, spec, contract)
    if target is None:
        # Two runs may both find it missing. The lock makes the second find the table of the first.
        async with transaction(connection):
            await connection.execute("select pg_advisory_xact_lock(hashtext($1))", f"rowledger {spec.target}")
            target = await read_target(connection, spec, contract)
            if target is None:
                await _create_target(connection, spec, contract, partitions)
                target = await read_target(connection, spec, contract)
    assert target is not None  # noqa: S101 - it was created
    return target


async def read_target(connection: asyncpg.Connection, spec: TableSpec, contract: Sequence[Column]) -> Target | None:
    """The target table, or None where it is missing; raises as `ensure_target` does. Writes nothing."""
    found = await connection.fetchrow(query("find_relation"), spec.target.schema_name, spec.target.table)
    if found is None:
        return None
    if found["kind"] not in ("r", "p"):
        raise TargetMismatch(f"target {spec.target} is not a table; name another target in the table spec")
    await require_all_rows(connection, found["oid"])
    columns = await match_columns(connection, spec, contract, found["oid"])
    unique_indexes = await read_unique_indexes(connection, found["oid"])
    of_key = [index for index in unique_indexes if index.is_on(spec.key)]
    usable = [index for index in of_key if index.is_valid]
    if spec.write_mode is WriteMode.UPSERT and not (usable and all(index.immediate for index in usable)):
        key = ", ".join(quote_identifier(name) for name in spec.key)
        raise TargetMismatch(
            f"target {spec.target} has no unique index on the key, which upsert needs to find the row to update (and not a "
            "deferrable or an invalid one). Nothing was written. Change the key of the spec, or run:\n  create unique index "
            f"on {quoted(*spec.target.parts)} ({key});  -- refused where two rows have the same key"
        )
    return Target(
        oid=found["oid"],
        name=spec.target,
        columns=columns,
        strategy=found["strategy"],
        partitioned_by=found["key_column"] if found["key_columns"] == 1 else None,
        unique_indexes=tuple(index for index in unique_indexes if index not in of_key),
        key_indexes=tuple(of_key),
        foreign_keys=await read_foreign_keys(connection, found["oid"]),
        identities={row[0]: row[1] for row in await connection.fetch(query("identity_columns"), found["oid"])},
        is_ours=found["is_ours"],
    )


async def _create_target(
    connection: asyncpg.Connection, spec: TableSpec, contract: Sequence[Column], partitions: Sequence[Partition]
) -> None:
    # CREATE SCHEMA IF NOT EXISTS needs the privilege even where the schema exists.
    if not await connection.fetchval(query("schema_exists"), spec.target.schema_name):
        await connection.execute(f"create schema {quote_identifier(spec.target.schema_name)}")
    for enum in {column.type.element for column in contract if column.type.name is TypeName.ENUM}:
        await _ensure_enum(connection, enum)
    statement = creation_statement(spec, contract, partitions)
    name = quoted(*spec.target.parts)
    await connection.execute(f"{statement}; comment on table {name} is '{_made_by(statement)}'")


def _made_by(statement: str) -> str:
    """The comment that marks a table as created by a run, with a hash of the CREATE TABLE statement."""
    return f"made by Rowledger ({hashlib.sha256(statement.encode()).hexdigest()[:16]})"


async def _drop_outdated(
    connection: asyncpg.Connection, spec: TableSpec, contract: Sequence[Column], partitions: Sequence[Partition]
) -> None:
    """Drop a table that a run has created for another row model, key or partitioning, and that is unused.

    Nothing was ever published into it, no load is running on it, it is empty, and no other object depends on it.
    """
    if not await is_outdated(connection, spec, contract, partitions):
        return
    name = quoted(*spec.target.parts)
    async with transaction(connection):
        await connection.execute("select pg_advisory_xact_lock(hashtext($1))", f"rowledger {spec.target}")
        if await is_outdated(connection, spec, contract, partitions):
            await connection.execute(f"lock table {name} in access exclusive mode")
            if not await connection.fetchval(f"select exists (select from {name})"):  # noqa: S608 - quoted
                await connection.execute(f"drop table {name}")


async def is_outdated(
    connection: asyncpg.Connection, spec: TableSpec, contract: Sequence[Column], partitions: Sequence[Partition]
) -> bool:
    """Whether a run has created the table for another row model, key or partitioning, and nothing was loaded into it."""
    made_by = _made_by(creation_statement(spec, contract, partitions))
    return bool(await connection.fetchval(query("is_outdated"), quoted(*spec.target.parts), str(spec.target), made_by))


def creation_statement(spec: TableSpec, contract: Sequence[Column], partitions: Sequence[Partition]) -> str:
    """CREATE TABLE of a target for the contract, partitioned as the partitions are."""
    lines = [
        f"{quote_identifier(column.name)} {column.type.sql}{'' if column.nullable else ' not null'}"
        for column in contract
    ]
    if spec.key:
        lines.append(f"primary key ({', '.join(quote_identifier(name) for name in spec.key)})")
    divisions = {_division(partition) for partition in partitions}
    division = divisions.pop() if len(divisions) == 1 else None
    suffix = ""
    # A primary key of a partitioned table must include the partition column. A table whose key does not is not partitioned.
    if division is not None and (not spec.key or division[1] in spec.key):
        strategy = {"r": "range", "l": "list"}[division[0]]
        suffix = f" partition by {strategy} ({quote_identifier(division[1])})"
    return f"create table {quoted(*spec.target.parts)} (\n  " + ",\n  ".join(lines) + f"\n){suffix}"


def _division(partition: Partition) -> tuple[str, str] | None:
    """Strategy and column of a table that has this partition; None where no single column defines it."""
    match partition.conditions:
        case (Window(column=column),):
            return "r", column
        case (Equals(column=column),):
            return "l", column
        case _:
            return None


async def _ensure_enum(connection: asyncpg.Connection, enum: ColumnType) -> None:
    """Create the enum if it is missing. An existing one is not altered: its labels are read with the table's columns."""
    if await connection.fetchval("select to_regtype($1)", enum.element_sql) is None:
        labels = ", ".join(map(quote_literal, enum.labels))
        await connection.execute(f"create type {enum.element_sql} as enum ({labels})")
