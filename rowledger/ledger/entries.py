"""Detects ledger entries of ended loads that were edited by hand.

Later appends, upserts, replays and verifications rely on the entries of earlier loads: on their content digests,
states and sums. Each change that Rowledger makes records the entry's digest again, in the same transaction. No
function commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from rowledger.postgres import as_texts, query
from rowledger.spec import TableSpec

__all__ = ["is_entry_as_written", "note_entries", "read_changed_entries"]


@dataclass(frozen=True, slots=True)
class ChangedEntry:
    """An ended load whose entry is not what Rowledger wrote."""

    load_id: int
    partition_key: str
    state: str

    def __str__(self) -> str:
        return f"load {self.load_id} (partition {self.partition_key}, {self.state})"


async def note_entries(connection: asyncpg.Connection, load_ids: Sequence[int]) -> None:
    """Record the digests of these loads' entries: the last statements of a transaction that ends or changes the loads."""
    if load_ids:
        texts = as_texts(load_ids)
        await connection.execute(query("digest_chunks_of_loads"), texts)
        await connection.execute(query("digest_loads"), texts)


async def read_changed_entries(
    connection: asyncpg.Connection, spec: TableSpec, *, published: bool = False
) -> list[ChangedEntry]:
    """Entries of the table's ended loads that were edited by hand.

    With `published` only entries of published loads, whose chunks are checked too.
    """
    rows = await connection.fetch(query("entries_changed_by_hand"), str(spec.target), spec.name, published)
    return [ChangedEntry(**dict(row)) for row in rows]


async def is_entry_as_written(connection: asyncpg.Connection, load_id: int) -> bool:
    """Whether the entries of a load and of its chunks are what Rowledger wrote."""
    return bool(await connection.fetchval(query("is_entry_as_written"), load_id))
