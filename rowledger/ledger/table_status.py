"""Read the status of partitions and the incidents from the ledger. Read-only, and without any table spec."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from rowledger.errors import NothingRecorded
from rowledger.ledger.attempts import KnownTable, fetch_known_tables, fetch_status, read_unknown_partitions
from rowledger.ledger.reader import read_ledger
from rowledger.ledger.status import PartitionStatus
from rowledger.postgres import query

__all__ = ["KeptIncident", "read_incidents", "read_known_tables", "read_status", "require_recorded"]


@dataclass(frozen=True, slots=True)
class KeptIncident:
    """What a guard noticed during a partition's latest load, mostly the death of a worker."""

    partition_key: str
    kind: str
    pid: int
    exit_code: int | None
    chunk_no: int | None
    attempt: int
    summary: str
    detected_at: datetime


def read_status(
    url: str, table: str | None = None, partition_keys: Sequence[str] | None = None
) -> list[PartitionStatus]:
    """What readers see of each partition, and the latest attempt at it. None selects all tables, or all partitions.

    Raises NothingRecorded where the ledger has no entry of the table or of one of the keys, or none at all, and
    DatabaseUnavailable.
    """

    async def read(connection: asyncpg.Connection) -> list[PartitionStatus]:
        if table is not None:
            await require_recorded(connection, table, partition_keys or ())
        found = await fetch_status(connection, table, list(partition_keys) if partition_keys else None)
        if unknown := [key for key in partition_keys or () if key not in {row.partition_key for row in found}]:
            raise NothingRecorded(f"nothing was ever loaded into partition {', '.join(unknown)} of any table")
        if not found:
            raise NothingRecorded("nothing was ever loaded into this database")
        return found

    return read_ledger(url, read)


async def require_recorded(connection: asyncpg.Connection, table: str, partition_keys: Sequence[str] = ()) -> None:
    """Raise NothingRecorded for a table, or one of its partitions, that nothing was ever loaded into."""
    known = {found.table_name for found in await fetch_known_tables(connection)}
    if table not in known:
        names = f"it knows {', '.join(sorted(known))}" if known else "it knows none"
        raise NothingRecorded(f"the ledger has no table {table!r}; {names}")
    if unknown := await read_unknown_partitions(connection, table, list(partition_keys)):
        raise NothingRecorded(
            f"table {table}: nothing was ever loaded into partition {', '.join(unknown)}; "
            f"`rowledger status --table {table}` lists the partitions"
        )


def read_known_tables(url: str) -> list[KnownTable]:
    """Every table that the ledger has attempts of; raises DatabaseUnavailable."""
    return read_ledger(url, fetch_known_tables)


def read_incidents(url: str, table: str, *, partition: str | None = None) -> list[KeptIncident]:
    """Recorded incidents, oldest first; raises NothingRecorded for an unknown table or partition, and DatabaseUnavailable."""

    async def read(connection: asyncpg.Connection) -> list[KeptIncident]:
        await require_recorded(connection, table, [] if partition is None else [partition])
        rows = await connection.fetch(query("list_incidents"), table, partition)
        return [KeptIncident(**row) for row in rows]

    return read_ledger(url, read)
