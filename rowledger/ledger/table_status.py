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

__all__ = ["KeptIncident", "read_incidents", "read_known_tables", "read_status", "require_known", "require_recorded"]


@dataclass(frozen=True, slots=True)
class KeptIncident:
    """What a guard noticed during a load of a partition, mostly the death of a worker; `pid` is a process of `host`."""

    table: str
    partition_key: str
    kind: str
    pid: int
    host: str
    exit_code: int | None
    chunk_no: int | None
    attempt: int
    summary: str
    detected_at: datetime
    run_id: str | None


def read_status(
    url: str, table: str | None = None, partition_keys: Sequence[str] | None = None
) -> list[PartitionStatus]:
    """What readers see of each partition, and the latest attempt at it. None selects all tables, or all partitions.

    Raises NothingRecorded where the ledger has no entry of the table or of one of the keys, or none at all, and
    DatabaseUnavailable.
    """

    async def read(connection: asyncpg.Connection) -> list[PartitionStatus]:
        await require_recorded(connection, table, partition_keys or ())
        return await fetch_status(connection, table, list(partition_keys) if partition_keys else None)

    return read_ledger(url, read)


async def require_recorded(
    connection: asyncpg.Connection, table: str | None, partition_keys: Sequence[str] = ()
) -> None:
    """Raise NothingRecorded for a table, or a partition, that nothing was ever loaded into; None stands for any table."""
    known = await fetch_known_tables(connection)
    if table is not None:
        require_known(table, known)
    elif not known:
        raise NothingRecorded("nothing was ever loaded into this database")
    if unknown := await read_unknown_partitions(connection, table, list(partition_keys)):
        nothing = f"nothing was ever loaded into partition {', '.join(unknown)}"
        raise NothingRecorded(
            f"{nothing} of any table"
            if table is None
            else f"table {table}: {nothing}; `rowledger status --table {table}` lists the partitions"
        )


def require_known(table: str, known: Sequence[KnownTable]) -> None:
    """Raise NothingRecorded for a table that is not among those that the ledger knows."""
    names = {found.table_name for found in known}
    if table not in names:
        told = f"it knows {', '.join(sorted(names))}" if names else "it knows none"
        raise NothingRecorded(f"the ledger has no table {table!r}; {told}")


def read_known_tables(url: str) -> list[KnownTable]:
    """Every table that the ledger has attempts of; raises DatabaseUnavailable."""
    return read_ledger(url, fetch_known_tables)


def read_incidents(
    url: str, table: str | None = None, partition_keys: Sequence[str] | None = None, *, every_load: bool = False
) -> list[KeptIncident]:
    """Incidents of each partition's latest load, or of `every_load`, oldest first.

    The other arguments and what it raises are those of `read_status`.
    """

    async def read(connection: asyncpg.Connection) -> list[KeptIncident]:
        await require_recorded(connection, table, partition_keys or ())
        rows = await connection.fetch(query("list_incidents"), table, list(partition_keys or ()) or None, every_load)
        return [KeptIncident(**row) for row in rows]

    return read_ledger(url, read)
