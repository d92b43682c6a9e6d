"""Read what the ledger knows: status of partitions, incidents. Read-only."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import asyncpg

from pipeline.errors import LedgerMissing
from pipeline.model.report import PartitionStatus
from pipeline.model.table import TableSpec
from pipeline.postgres.catalogue import quoted
from pipeline.postgres.ledger import read_status as read_ledger_status
from pipeline.postgres.ledger_reader import ledger_reader
from pipeline.postgres.queries import query
from pipeline.settings import WriterSettings

__all__ = ["KeptIncident", "count_rows", "read_incidents", "read_status"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeptIncident:
    """A worker's death during a partition's latest load."""

    partition_key: str
    kind: str
    pid: int
    exit_code: int | None
    chunk_no: int | None
    attempt: int
    summary: str
    detected_at: datetime


def read_status(url: str, table: str | None = None) -> list[PartitionStatus]:
    """The latest load of each partition, of one table or of all; raises what `ledger_reader` does."""
    try:
        return asyncio.run(_read(url, lambda connection: read_ledger_status(connection, table)))
    except LedgerMissing:
        return []


def read_incidents(url: str, table: str, *, partition: str | None = None) -> list[KeptIncident]:
    """Worker deaths, oldest first; raises what `ledger_reader` does."""

    async def read(connection: asyncpg.Connection) -> list[KeptIncident]:
        rows = await connection.fetch(query("list_incidents"), table, partition)
        return [KeptIncident(**row) for row in rows]

    try:
        return asyncio.run(_read(url, read))
    except LedgerMissing:
        return []


async def count_rows(url: str, spec: TableSpec, condition: str) -> int:
    """Rows of the target table for which the SQL condition, written by the caller and never by a user, holds."""
    name = quoted(spec.target.schema_name, spec.target.table)

    async def count(connection: asyncpg.Connection) -> int:
        return int(await connection.fetchval(f"select count(*) from {name} where {condition}"))  # noqa: S608

    return await _read(url, count)


async def _read(url: str, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    async with ledger_reader(url, purpose="status", limits=WriterSettings()) as connection:
        return await work(connection)
