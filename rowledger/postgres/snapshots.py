"""Wait for readers whose snapshot is older than a load's rows: after an attach or a swap they would see only some of the rows.

A catalogue change is visible to every transaction at once, but a snapshot shows only the rows whose chunks had committed when
it was taken. So Rowledger waits for readers with such a snapshot, as CREATE INDEX CONCURRENTLY does. Snapshots that are taken
afterwards see all rows of the load.
"""

import asyncio
import time
from collections.abc import Mapping

import asyncpg

from rowledger.postgres.queries import query
from rowledger.spec import LoadHandle

__all__ = ["OldSnapshots"]

_FIRST_POLL_S = 0.01
_LAST_POLL_S = 0.25


class OldSnapshots:
    """Waits for readers with old snapshots, at most `wait_s` seconds, and at most once a run for the same reader."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._kept_waiting: set[str] = set()  # virtual transactions that did not end in time

    async def look(self, connection: asyncpg.Connection, handle: LoadHandle) -> Mapping[str, str]:
        """Such readers as there may be, for `wait_for_end`, which tells them from readers that come later.

        Call it when the staging table does not change any more.
        """
        return await _read(connection, handle)

    async def wait_for_end(self, connection: asyncpg.Connection, handle: LoadHandle, readers: Mapping[str, str]) -> int:
        """Wait for these; returns how many readers have a snapshot that is still older than the staging table's last change."""
        give_up_at = time.monotonic() + self._wait_s
        poll_s = _FIRST_POLL_S
        awaited = alive = dict(readers)
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
                # Another transaction may import a snapshot (pg_export_snapshot) while the one that took it is alive.
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
    # Within a transaction, the server would repeat its first answer.
    await connection.execute("select pg_stat_clear_snapshot()")
    rows = await connection.fetch(query("old_snapshots"), handle.load_id)
    return {row["transaction"]: row["oldest"] for row in rows if row["transaction"] is not None}
