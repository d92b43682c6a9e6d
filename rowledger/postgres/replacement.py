"""Find what other objects and sessions would lose if the staging table replaced a partition or a table.

Where something is found, the rows are deleted and inserted instead, which keeps the table. Everything is read from the
catalogue and from query plans; no function changes anything.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from rowledger.postgres.bounds import partition_predicate, printed_bounds
from rowledger.postgres.catalogue import Target
from rowledger.postgres.queries import LEDGER_SCHEMA, query, quoted, together
from rowledger.postgres.staging import BOUNDS_CONSTRAINT, OWN_BOUNDS_CONSTRAINT
from rowledger.spec import LoadHandle, Partition

__all__ = [
    "Attached",
    "has_stale_checks",
    "read_attach_obstacle",
    "read_attached",
    "read_grants",
    "read_obstacle_beside",
    "read_obstacle_of_rows",
    "read_staging_changes",
    "read_swap_obstacle",
]

_NAMED_MAX = 5
_PUBLICATIONS_OF_SCHEMAS_SINCE = 15  # the major version of PostgreSQL


@dataclass(frozen=True, slots=True)
class Attached:
    """The partition with exactly the bounds asked for, and the DEFAULT partition, where they exist."""

    old: asyncpg.Record | None
    default: asyncpg.Record | None


async def read_attach_obstacle(
    connection: asyncpg.Connection, target: Target, handle: LoadHandle, partition: Partition, *, replaces: bool
) -> str | None:
    """Why the staging table cannot be attached as the partition; None where it can.

    Obstacles are triggers and rules on the rows, publications that send them to subscribers, rows of this partition in the
    DEFAULT partition, and what depends on the partition that would be replaced. The empty text means that the partition exists
    and that its rows are to stay.
    """
    if (obstacle := await read_obstacle_of_rows(connection, target)) is not None:
        return obstacle
    attached = await read_attached(connection, target, partition)
    return await read_obstacle_beside(connection, target, handle, partition, attached, replaces=replaces)


async def read_obstacle_of_rows(connection: asyncpg.Connection, target: Target) -> str | None:
    """The triggers, rules or publications that would miss rows which come with an attached table."""
    acting, *publications = await _fetch_together(
        connection, ["triggers_and_rules", *_publications(connection)], target.oid
    )
    if acting:
        return f"{target.name} has {_listed(acting)}"
    if found := [one for some in publications for one in some]:
        return f"{target.name} is in publication {_listed(found)}"
    return None


async def read_obstacle_beside(
    connection: asyncpg.Connection,
    target: Target,
    handle: LoadHandle,
    partition: Partition,
    attached: Attached,
    *,
    replaces: bool,
) -> str | None:
    """What of the table's partitions keeps the staging table from being attached, as `read_attach_obstacle` says it."""
    old, default = attached.old, attached.default
    if old is not None and not replaces:
        return ""
    if old is not None and (obstacle := await _read_obstacle_of(connection, old, handle)) is not None:
        return f"partition {old['table_name']} {obstacle}"
    if replaces and default is not None and await _has_rows(connection, target, default, partition):
        return f"the DEFAULT partition {default['table_name']} has rows of this partition"
    return None


async def read_staging_changes(
    connection: asyncpg.Connection, target: Target, handle: LoadHandle, partition: Partition, names: Sequence[str]
) -> str:
    """A list of what was changed in the staging table by hand since it was created; empty where nothing was.

    `names` are the contract's columns: others may be added while the load runs.
    """
    rows = await connection.fetch(
        query("staging_changes"),
        quoted(LEDGER_SCHEMA, handle.staging_table),
        target.oid,
        names,
        BOUNDS_CONSTRAINT if partition.conditions else None,
    )
    return _listed([row[0] for row in rows])


async def has_stale_checks(connection: asyncpg.Connection, target: Target, handle: LoadHandle) -> bool:
    """Whether the staging table has a CHECK that was dropped from its target, or altered there, since it was created."""
    found: bool = await connection.fetchval(
        query("has_stale_checks"),
        quoted(LEDGER_SCHEMA, handle.staging_table),
        target.oid,
        [BOUNDS_CONSTRAINT, OWN_BOUNDS_CONSTRAINT],
    )
    return found


async def _read_obstacle_of(
    connection: asyncpg.Connection, partition: asyncpg.Record, handle: LoadHandle
) -> str | None:
    """What keeps a partition from being replaced."""
    if not partition["is_plain"]:
        return "is divided further, or a foreign table"
    if lost := await _read_properties_lost(connection, partition["oid"], handle, is_partition=True):
        return f"has {lost}"
    if publications := await _read_publications(connection, partition["oid"]):
        return f"is in publication {_listed(publications)}"
    return None


async def read_swap_obstacle(connection: asyncpg.Connection, target: Target, handle: LoadHandle) -> str | None:
    """Why the staging table cannot replace the target; None where it can."""
    if not target.is_ours:
        return f"{target.name} belongs to another role, or its schema takes no tables of this one"
    if await connection.fetchval(query("has_taken_its_place"), target.oid, quoted(*target.name.parts)):
        return "another table has taken its place"
    if publications := await _read_publications(connection, target.oid):
        return f"{target.name} is in publication {_listed(publications)}"
    if lost := await _read_properties_lost(connection, target.oid, handle, is_partition=False):
        return f"{target.name} has {lost}"
    return None


def _listed(names: Sequence[str]) -> str:
    """The names as a list; of more than five, the first five and the number of the others."""
    shown = ", ".join(names[:_NAMED_MAX])
    return f"{shown} and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else shown


async def _read_properties_lost(
    connection: asyncpg.Connection, oid: int, handle: LoadHandle, *, is_partition: bool
) -> str:
    """A list of what the table has and the staging table in its place would lack; empty where nothing would be lost."""
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    return _listed([row[0] for row in await connection.fetch(query("properties_lost"), oid, staging, is_partition)])


async def _read_publications(connection: asyncpg.Connection, oid: int) -> list[str]:
    """Publications that send the table's rows to subscribers."""
    return [name for names in await _fetch_together(connection, _publications(connection), oid) for name in names]


def _publications(connection: asyncpg.Connection) -> list[str]:
    """The queries for publications that this server can answer."""
    has_schemas = connection.get_server_version().major >= _PUBLICATIONS_OF_SCHEMAS_SINCE
    return ["publications", "publications_of_schemas"] if has_schemas else ["publications"]


async def _fetch_together(connection: asyncpg.Connection, names: Sequence[str], *arguments: object) -> list[list[str]]:
    """The first column of what each of these queries finds."""
    row = await connection.fetchrow(together(*names), *arguments)
    return [[next(iter(found.values())) for found in json.loads(rows)] for rows in row]


async def read_attached(connection: asyncpg.Connection, target: Target, partition: Partition) -> Attached:
    """The partition with the bounds of this one, and the DEFAULT partition.

    The planner says which partitions may have the rows: it finds them among tens of thousands without reading the bounds of
    each.
    """
    predicate = partition_predicate(target, partition)
    explained = await connection.fetchval(
        f"explain (verbose, costs off, format json) select from {target.sql} where {predicate}"
    )
    leaves = [quoted(*name) for name in _scanned(json.loads(explained)[0]["Plan"])]
    if not leaves:
        return Attached(None, None)  # a DEFAULT partition would be searched for the rows
    rows = await connection.fetch(query("attached_partitions"), target.oid, printed_bounds(target, partition), leaves)
    old = next((row for row in rows if not row["is_default"]), None)
    default = next((row for row in rows if row["is_default"]), None)
    return Attached(old, default)


def _scanned(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Schema and name of each table that a plan reads."""
    if "Relation Name" in plan:
        yield plan["Schema"], plan["Relation Name"]
    for below in plan.get("Plans", ()):
        yield from _scanned(below)


async def _has_rows(
    connection: asyncpg.Connection, target: Target, default: asyncpg.Record, partition: Partition
) -> bool:
    """Whether the DEFAULT partition has some of this partition's rows."""
    predicate = partition_predicate(target, partition)
    relation = quoted(default["schema_name"], default["table_name"])
    return bool(await connection.fetchval(f"select exists (select from {relation} where {predicate})"))  # noqa: S608


async def read_grants(connection: asyncpg.Connection, oid: int, staging: str) -> list[str]:
    """Statements that repeat on the staging table (a quoted name) the grants that the owner has made on the table."""
    return [row["statement"] for row in await connection.fetch(query("grant_statements"), oid, staging)]
