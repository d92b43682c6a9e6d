"""Readers whose snapshot is older than a load's rows: attaching or swapping a table would show them a part of these rows.

A catalogue change is visible to every transaction at once, while the rows that come with it are visible to a snapshot one by
one, as their chunks had committed when it was taken. So readers with such a snapshot are waited for, as CREATE INDEX
CONCURRENTLY does. Snapshots that are taken afterwards see all rows of the load.
"""

import asyncio
import time

import asyncpg

from rowledger.postgres.queries import query
from rowledger.spec import LoadHandle

__all__ = ["OldSnapshots"]

_FIRST_POLL_S = 0.01
_LAST_POLL_S = 0.25


class OldSnapshots:
    """Waits for readers with old snapshots, for so many seconds at most, and in one run for no reader twice."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._kept_waiting: set[str] = set()  # virtual transactions that did not end in time

    async def wait_for_end(self, connection: asyncpg.Connection, handle: LoadHandle) -> int:
        """The number of readers whose snapshot is still older than the last change of the load's staging table.

        To be called when the staging table does not change any more.
        """
        give_up_at = time.monotonic() + self._wait_s
        poll_s = _FIRST_POLL_S
        awaited = alive = await _read(connection, handle)
        imported = False
        while alive and not self._kept_waiting & alive.keys():
            if time.monotonic() >= give_up_at:
                self._kept_waiting |= alive.keys()
                break
            await asyncio.sleep(poll_s)
            poll_s = min(2 * poll_s, _LAST_POLL_S)
            found = await _read(connection, handle)
            still = {transaction: oldest for transaction, oldest in found.items() if transaction in awaited}
            if not imported:
                # A snapshot may be handed on (pg_export_snapshot) for as long as the transaction that took it lives.
                heirs = {
                    key: oldest for key, oldest in found.items() if key not in awaited and oldest in alive.values()
                }
                if not still:
                    awaited, imported = heirs, True
                still |= heirs
            alive = still
        return len(alive)


async def _read(connection: asyncpg.Connection, handle: LoadHandle) -> dict[str, str]:
    """The transactions with an old snapshot, by their virtual ids, each with the oldest transaction that it may not see."""
    # Within a transaction the first answer would be repeated.
    await connection.execute("select pg_stat_clear_snapshot()")
    rows = await connection.fetch(query("old_snapshots"), handle.load_id)
    return {row["transaction"]: row["oldest"] for row in rows if row["transaction"] is not None}
