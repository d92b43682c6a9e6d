"""A run's leases, which tell other runs that this run works on its loads."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from rowledger.ledger import Holder, SupervisorSessions
from rowledger.postgres import query, summarize

__all__ = ["LeaseKeeper"]

_RELEASE_S = 3.0  # releasing must not delay the end of a run; a lease that is not released lapses


class LeaseKeeper:
    """Renews the leases of all loads of one run, and releases them at its end.

    It does not share sessions with the loads, because a long reconcile must not keep a lease from being renewed. After each
    renewal `renewed` is called, for what else the run looks at so often.
    """

    def __init__(
        self,
        sessions: SupervisorSessions,
        holder: Holder,
        lease_s: float,
        log: Callable[[int, str], None],
        renewed: Callable[[], Awaitable[None]],
    ) -> None:
        self._sessions = sessions
        self._token = holder.token
        self._lease_s = lease_s
        self._log = log
        self._renewed = renewed

    @contextlib.asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Renew the leases while the block runs. After it, the next run may begin at once."""
        renewing = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await self._release()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 4)
            try:
                await self._execute("renew_leases")
            except Exception as error:  # noqa: BLE001 - a lost lease costs a rival's wait, not a row: the epoch guards those
                self._log(logging.WARNING, f"leases could not be renewed: {summarize(error)}")
            else:
                await self._look()

    async def _look(self) -> None:
        try:
            await self._renewed()
        except Exception as error:  # noqa: BLE001 - the leases must be renewed in any case
            self._log(logging.ERROR, f"met an error of this program after leases were renewed ({summarize(error)})")

    async def _release(self) -> None:
        """Release all leases. Where that fails, the next run waits until they lapse."""
        try:
            async with asyncio.timeout(_RELEASE_S):
                await self._execute("release_leases")
        except Exception as error:  # noqa: BLE001 - this must not hide the run's own outcome
            self._log(logging.WARNING, f"leases could not be released: {summarize(error)}")

    async def _execute(self, name: str) -> None:
        await self._sessions.transaction(
            name.replace("_", " "), lambda connection: connection.execute(query(name), self._token)
        )
