"""Delete ledger entries that no answer needs: those of replaced and failed loads, once they are old enough.

`prunable_loads` in `sql/queries/prune.sql` says which they are. What it says of an entry stays true whatever other runs do
meanwhile: an ended load is never published, and a later one never goes away. So the entries are deleted page by page, in
transactions of their own, beside running loads.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from rowledger.ledger.checked_session import ledger_session
from rowledger.ledger.reader import ledger_reader
from rowledger.ledger.table_status import require_recorded
from rowledger.postgres import query
from rowledger.settings import WriterSettings

__all__ = ["PrunableEntries", "find_prunable", "prune"]

_PAGE_ENTRIES = 10_000  # rows that one transaction deletes at most, besides what goes with them
_LISTED_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class PrunableEntries:
    """What a prune deletes, and by table how many loads it keeps because of dead letters that are not resolved."""

    loads: tuple[int, ...] = ()
    kept_loads: tuple[int, ...] = ()
    attempts: tuple[int, ...] = ()
    incidents_of_runs: tuple[int, ...] = ()
    loads_by_state: Mapping[str, int] = field(default_factory=dict)
    chunks: int = 0
    dead_letters: int = 0
    incidents: int = 0
    kept_by_table: Mapping[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many entries of each kind there are to delete."""
        return {
            "loads": len(self.loads),
            "chunks": self.chunks,
            "dead_letters": self.dead_letters,
            "incidents": self.incidents + len(self.incidents_of_runs),
            "failed_attempts": len(self.attempts),
        }


def find_prunable(url: str, *, older_than_s: float, table: str | None) -> PrunableEntries:
    """The entries that are older than that and that no answer needs; without a table also those of whole runs.

    Raises NothingRecorded for an unknown table, and what `ledger_reader` raises.
    """

    async def read() -> PrunableEntries:
        async with ledger_reader(url, purpose="prune", limits=WriterSettings()) as connection:
            if table is not None:
                await require_recorded(connection, table)
            return await _find(connection, older_than_s, table)

    return asyncio.run(read())


async def _find(connection: asyncpg.Connection, older_than_s: float, table: str | None) -> PrunableEntries:
    found = await connection.fetch(query("prunable_attempts"), older_than_s, table, _LISTED_MAX)
    attempts = [row["attempt_id"] for row in found]
    rows = await connection.fetch(query("prunable_loads"), older_than_s, table, attempts)
    going = [row for row in rows if not row["by_dead_letters"]]
    kept = [row for row in rows if row["by_dead_letters"]]
    loads = [row["load_id"] for row in going]
    of_runs = [] if table else await connection.fetch(query("prunable_incidents"), older_than_s, loads, _LISTED_MAX)
    return PrunableEntries(
        loads=tuple(loads),
        kept_loads=tuple(row["load_id"] for row in kept),
        attempts=tuple(attempts),
        incidents_of_runs=tuple(row["incident_id"] for row in of_runs),
        loads_by_state=Counter(row["state"] for row in going),
        chunks=sum(row["chunks"] for row in going),
        # The resolved ones of the loads that stay go too.
        dead_letters=sum(row["dead_letters"] for row in rows),
        incidents=sum(row["incidents"] for row in going),
        kept_by_table=Counter(row["table_name"] for row in kept),
    )


def prune(url: str, entries: PrunableEntries) -> dict[str, int]:
    """Delete the entries, and return how many of each kind this deleted; a rival prune may have deleted others.

    Each transaction deletes a page. An interrupted prune leaves nothing that changes an answer, and the next one goes on.
    """
    return asyncio.run(_prune(url, entries))


async def _prune(url: str, entries: PrunableEntries) -> dict[str, int]:
    loads, each = list(entries.loads), list(entries.loads + entries.kept_loads)
    of_runs = list(entries.incidents_of_runs)
    done: dict[str, int] = {}
    # What refers to a load goes before it, so that no transaction deletes more than its page.
    done["failed_attempts"] = await _by_number(url, "prune_attempts", entries.attempts)
    done["dead_letters"] = await _page_by_page(url, "prune_dead_letters", each, _PAGE_ENTRIES)
    done["incidents"] = await _page_by_page(url, "prune_incidents", loads, of_runs, _PAGE_ENTRIES)
    done["chunks"] = await _page_by_page(url, "prune_chunks", loads, _PAGE_ENTRIES)
    done["loads"] = await _by_number(url, "prune_loads", loads)
    return {kind: done[kind] for kind in entries.counts}


async def _page_by_page(url: str, name: str, *arguments: object) -> int:
    """Delete until a page finds nothing; the last argument is the page's size."""
    deleted = 0
    while page := await _delete(url, name, *arguments):
        deleted += page
    return deleted


async def _by_number(url: str, name: str, numbers: Sequence[int]) -> int:
    deleted = 0
    for begin in range(0, len(numbers), _PAGE_ENTRIES):
        deleted += await _delete(url, name, numbers[begin : begin + _PAGE_ENTRIES])
    return deleted


async def _delete(url: str, name: str, *arguments: object) -> int:
    """Delete one page in a session and a transaction of its own, which bounds its time."""
    session = ledger_session(url, purpose="prune", doing="pruning the ledger", writes=True, limits=WriterSettings())
    async with session as pruning, pruning.transaction():
        return int((await pruning.connection.execute(query(name), *arguments)).split()[-1])
