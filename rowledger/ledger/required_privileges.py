"""The privileges that loading a table requires, checked before anything is written. docs/operations.md has them as a table."""

from collections.abc import Sequence

import asyncpg

from rowledger.ledger.migrations import missing_on_ledger
from rowledger.postgres import Grant, missing_on_schema, missing_on_table, query, quoted, require_privileges
from rowledger.spec import Column, Partition, TableSpec, WriteMode

__all__ = ["require_to_load", "require_to_write_ledger"]

_ON_TARGET = {
    WriteMode.REPLACE: ("select", "insert", "delete"),
    WriteMode.APPEND: ("select", "insert"),
    WriteMode.UPSERT: ("select", "insert", "update"),
}


async def require_to_load(
    connection: asyncpg.Connection, spec: TableSpec, columns: list[Column], partitions: Sequence[Partition]
) -> None:
    """Raise MissingPrivilege that names every privilege this role lacks to load these partitions of the table.

    Where the table is missing, these are the privileges to create it.
    """
    missing = [
        *await missing_on_ledger(connection, writes=True),
        *await _missing_on_target(connection, spec, columns, partitions),
    ]
    await require_privileges(connection, missing, purpose=f"loading table {spec.name} (write mode {spec.write_mode})")


async def require_to_write_ledger(connection: asyncpg.Connection, purpose: str) -> None:
    """Raise MissingPrivilege that names the privileges this role lacks to write to the ledger."""
    await require_privileges(connection, await missing_on_ledger(connection, writes=True), purpose=purpose)


async def _missing_on_target(
    connection: asyncpg.Connection, spec: TableSpec, columns: list[Column], partitions: Sequence[Partition]
) -> list[Grant]:
    schema_name, table_name = spec.target.schema_name, spec.target.table
    oid = await connection.fetchval(query("oid_of_table"), schema_name, table_name)
    if oid is None:
        return await missing_on_schema(connection, schema_name, ("usage", "create"))
    names = [column.name for column in columns]
    wanted = _ON_TARGET[spec.write_mode]
    # Loads of other partitions count the same rows, and a trigger may change any row: other writers are locked out
    # meanwhile.
    are_told_apart = all(partition.identifies_rows for partition in partitions)
    locks = not are_told_apart or await connection.fetchval(query("has_triggers_or_rules"), oid)
    if locks and not await connection.fetchval(query("may_lock_against_writers"), schema_name, table_name):
        wanted = tuple(dict.fromkeys((*wanted, "update")))
    missing = await missing_on_schema(connection, schema_name, ("usage",))
    missing += await missing_on_table(connection, schema_name, table_name, wanted, columns=names)
    sequences = await connection.fetch(query("sequence_privileges"), schema_name, table_name, names)
    missing += [Grant(("usage",), f"sequence {quoted(*row)}") for row in sequences]
    return missing
