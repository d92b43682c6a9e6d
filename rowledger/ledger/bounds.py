"""The bounds of partitions. The ledger records them with each load, so that reading the load's rows later needs no calendar."""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from rowledger.errors import LedgerMismatch, RowledgerError, UnknownPartition
from rowledger.postgres import query, server_session
from rowledger.settings import WriterSettings
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
    """The partition without its key, as JSON text for `load.partition`."""
    return json.dumps(
        {
            "version": _VERSION,
            "conditions": [_written(condition) for condition in partition.conditions],
            "dimensions": [list(pair) for pair in partition.dimensions],
            "identifies_rows": partition.identifies_rows,
        }
    )


def partition_of_bounds(key: str, text: str) -> Partition:
    """The partition with this key and the bounds in the text; raises LedgerMismatch for a text of another version."""
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
    """The partition of each load, as the ledger has it.

    `partition_of` supplies it for loads made before the ledger recorded bounds. `found` maps load ids to these
    partitions, for `record_bounds`.
    """

    def __init__(self, spec: TableSpec, partition_of: Callable[[str], Partition] | None) -> None:
        self._is_whole = not spec.partition_columns
        self._partition_of = partition_of
        self.found: dict[int, Partition] = {}

    def of(self, load: Mapping[str, Any]) -> Partition:
        """The partition of a load, given as a row with `load_id`, `partition_key` and `partition`; raises UnknownPartition."""
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
    """The partition of each of these loads, or the UnknownPartition that says why it is not known."""
    found: dict[int, Partition | UnknownPartition] = {}
    for row in await connection.fetch(query("bounds_of_loads"), load_ids):
        try:
            found[row["load_id"]] = partitions.of(row)
        except UnknownPartition as unknown:
            found[row["load_id"]] = unknown
    return found


async def record_bounds_of_former(connection: asyncpg.Connection, target: str, partition: Partition) -> None:
    """Record the bounds of a partition in those of its loads that were made before the ledger recorded bounds."""
    former = await connection.fetch(query("loads_without_bounds"), target, partition.key)
    await record_bounds(connection, {row["load_id"]: partition for row in former})


async def record_found_bounds(url: str, partitions: PartitionsOfLoads) -> None:
    """Record the bounds that `partition_of` supplied for loads without bounds, in a separate session.

    Failures are ignored: if the role may only read the ledger, or the session fails, the next session asks
    `partition_of` again.
    """
    if not partitions.found:
        return
    limits = WriterSettings(connect_timeout_s=_PATIENCE_S, statement_timeout_s=_PATIENCE_S)
    with contextlib.suppress(RowledgerError):
        async with (
            server_session(url, purpose="bounds", doing="recording bounds", limits=limits) as session,
            session.transaction(),
        ):
            await session.connection.execute("set local synchronous_commit = off")
            await record_bounds(session.connection, partitions.found)


async def record_bounds(connection: asyncpg.Connection, partitions: Mapping[int, Partition]) -> None:
    """Record the bounds of loads, by load id, where the ledger has none. An entry edited by hand stays as it is."""
    if partitions:
        await connection.execute(
            query("record_bounds"), list(partitions), [bounds_of(partition) for partition in partitions.values()]
        )
