"""A host while it works for a run: its lanes run as long as it can reach the database and is not lost."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from rowledger.hosts.chunk_requests import ChunkRequests
from rowledger.hosts.engine import HostGone
from rowledger.hosts.losses import HostLosses
from rowledger.hosts.remote_host import RemoteHost
from rowledger.ledger import Incident
from rowledger.settings import WriterSettings
from rowledger.workers import LogSink

__all__ = ["HostAtWork"]

_TOLD_S = 1.0  # until the head hears how a try has ended


class HostAtWork:
    """One host, and the chunks that it takes from all of the run. `heard` is called for each of its news."""

    def __init__(
        self,
        remote: RemoteHost,
        chunks: ChunkRequests,
        limits: WriterSettings,
        *,
        heard: Callable[[RemoteHost], None],
        losses: HostLosses,
        told: Callable[[Incident], None],
        log: LogSink,
    ) -> None:
        self._remote = remote
        self._limits = limits
        self._chunks = chunks
        self._heard_of = heard
        self._losses = losses
        self._told = told
        self._log = log
        self._lanes: list[asyncio.Task[None]] = []
        self._judging: asyncio.Task[None] | None = None
        self._reaches = asyncio.Event()
        self._benched_at: float | None = None

    async def run(self, *, began: Callable[[], None]) -> None:
        """Work until the host is lost: raises HostGone. A cancel puts its chunks back."""
        try:
            async with asyncio.TaskGroup() as group:
                self._start_lanes(group)
                began()
                await self._remote.listen(self._log, self._told, lambda: self._heard(group))
        except BaseExceptionGroup as several:
            gone, others = several.split(HostGone)
            raise (gone or others or several).exceptions[0] from None
        finally:
            self._remote.may_work.clear()

    def _start_lanes(self, group: asyncio.TaskGroup) -> None:
        self._remote.may_work.set()
        self._add_lanes(group)

    def _add_lanes(self, group: asyncio.TaskGroup) -> None:
        self._lanes = [lane for lane in self._lanes if not lane.done()]
        for _ in range(len(self._lanes), self._remote.workers):
            self._lanes.append(group.create_task(self._chunks.run_lane(self._remote)))

    def _heard(self, group: asyncio.TaskGroup) -> None:
        """Look at the host's news; raises HostGone where it has been cut off from the database for too long."""
        remote, away = self._remote, self._remote.news.away
        self._heard_of(remote)
        if not away:
            self._reaches.set()
        if self._benched_at is None:
            self._add_lanes(group)
            if away and (self._judging is None or self._judging.done()):
                self._reaches.clear()
                self._judging = group.create_task(self._judge())
        elif not away:
            self._benched_at = None
            self._log(logging.WARNING, f"host {remote.host.name} reaches the database again, and gets chunks")
            self._start_lanes(group)
        elif asyncio.get_running_loop().time() - self._benched_at > self._limits.outage_budget_s:
            raise HostGone(f"could not reach the database for {self._limits.outage_budget_s:g} s (outage_budget_s)")

    async def _judge(self) -> None:
        """Bench a host that cannot reach the server while the head can.

        Between two tries it does not know that the server is back, so it gets as long as it may wait before the next one.
        """
        remote = self._remote
        if not await self._chunks.server_answers():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.retry_max_s + _TOLD_S):
                await self._reaches.wait()
                return
        self._benched_at = asyncio.get_running_loop().time()
        remote.may_work.clear()
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        await self._losses.bench(remote.host, remote.news.away, remote.pid)
