"""The bounds of partitions, as the ledger records them with each load: what reads a load's rows later needs no calendar."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from rowledger.errors import LedgerMismatch, RowledgerError, UnknownPartition
from rowledger.postgres import connect, query
from rowledger.spec import WHOLE, Condition, Equals, Partition, TableSpec, Window

__all__ = [
    "PartitionsOfLoads",
    "bounds_of",
    "partition_of_bounds",
    "read_partitions",
    "record_bounds",
    "record_bounds_of_former",
    "record_found_bounds",
]

_VERSION = 1
_PATIENCE_S = 10


def bounds_of(partition: Partition) -> str:
    """A partition without its key as JSON text, for `load.partition`."""
    return json.dumps(
        {
            "version": _VERSION,
            "conditions": [_written(condition) for condition in partition.conditions],
            "dimensions": [list(pair) for pair in partition.dimensions],
            "identifies_rows": partition.identifies_rows,
        }
    )


def partition_of_bounds(key: str, text: str) -> Partition:
    """The partition of that key with the bounds that the text has; raises LedgerMismatch for a text of a later version."""
    bounds = json.loads(text)
    if bounds["version"] != _VERSION:
        raise LedgerMismatch(
            f"partition {key}: the ledger has its bounds in version {bounds['version']} of their form, and this Rowledger "
            f"reads version {_VERSION}: upgrade Rowledger"
        )
    return Partition(
        key=key,
        conditions=tuple(map(_read, bounds["conditions"])),
        dimensions=tuple((name, own) for name, own in bounds["dimensions"]),
        identifies_rows=bounds["identifies_rows"],
    )


def _written(condition: Condition) -> dict[str, str]:
    match condition:
        case Window(column, lower, upper, timezone):
            bounds = {"lower": lower.isoformat(), "upper": upper.isoformat(), "timezone": timezone}
            return {"kind": "window", "column": column, **bounds}
        case Equals(column, text):
            return {"kind": "equals", "column": column, "text": text}


def _read(written: Mapping[str, str]) -> Condition:
    if written["kind"] == "equals":
        return Equals(written["column"], written["text"])
    lower, upper = (datetime.fromisoformat(written[name]) for name in ("lower", "upper"))
    return Window(written["column"], lower, upper, written["timezone"])


class PartitionsOfLoads:
    """The partition of each load: as the ledger has it, or, for a load made before it recorded bounds, as `partition_of` says.

    `found` has the bounds that the ledger lacks, by the load's id, for `record_bounds`.
    """

    def __init__(self, spec: TableSpec, partition_of: Callable[[str], Partition] | None) -> None:
        self._is_whole = not spec.partition_columns
        self._partition_of = partition_of
        self.found: dict[int, Partition] = {}

    def of(self, load: Mapping[str, Any]) -> Partition:
        """The partition of a load, a row with `load_id`, `partition_key` and `partition`; raises UnknownPartition."""
        key = str(load["partition_key"])
        if load["partition"] is not None:
            return partition_of_bounds(key, load["partition"])
        if self._partition_of is not None:
            partition = self._partition_of(key)
        elif self._is_whole and key == WHOLE.key:
            partition = WHOLE
        else:
            raise UnknownPartition(
                key,
                "its load was made before the ledger recorded the bounds of partitions; run the table's verify job in Dagster "
                "once, or load the partition again",
            )
        self.found[load["load_id"]] = partition
        return partition


async def read_partitions(
    connection: asyncpg.Connection, partitions: PartitionsOfLoads, load_ids: Sequence[int]
) -> dict[int, Partition | UnknownPartition]:
    """The partition of each of these loads, or why it is not known."""
    found: dict[int, Partition | UnknownPartition] = {}
    for row in await connection.fetch(query("bounds_of_loads"), load_ids):
        try:
            found[row["load_id"]] = partitions.of(row)
        except UnknownPartition as unknown:
            found[row["load_id"]] = unknown
    return found


async def record_bounds_of_former(connection: asyncpg.Connection, target: str, partition: Partition) -> None:
    """Record the bounds of a partition with those of its loads that were made before the ledger recorded bounds."""
    former = await connection.fetch(query("loads_without_bounds"), target, partition.key)
    await record_bounds(connection, {row["load_id"]: partition for row in former})


async def record_found_bounds(url: str, partitions: PartitionsOfLoads) -> None:
    """Record what `partition_of` has told of loads without bounds, on a session of its own.

    A role that may only read the ledger records none, nor does a session that fails: the next one asks `partition_of` again.
    """
    if not partitions.found:
        return
    with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, RowledgerError):
        session = await connect(url, application_name="rowledger bounds", timeout_s=_PATIENCE_S)
        try:
            async with asyncio.timeout(_PATIENCE_S), session.connection.transaction():
                await session.connection.execute("set local synchronous_commit = off")
                await record_bounds(session.connection, partitions.found)
        finally:
            await session.close()


async def record_bounds(connection: asyncpg.Connection, partitions: Mapping[int, Partition]) -> None:
    """Record the bounds of loads, by their ids, that the ledger has none of; an entry edited by hand stays as it is."""
    if partitions:
        await connection.execute(
            query("record_bounds"), list(partitions), [bounds_of(partition) for partition in partitions.values()]
        )
