"""The connections that a run may use: those that Rowledger's runs may have on the server are shared fairly between them.

Each run says in the name of one of its sessions how many connections it has claimed and how many it wants, so a run that
dies gives back what it had. Every quarter of `lease_s` a run looks at these names, and claims more, or gives up what is
another run's by now.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

import asyncpg

from rowledger.counted import counted
from rowledger.errors import ConnectionsExhausted
from rowledger.ledger import SupervisorSessions
from rowledger.postgres import query, summarize
from rowledger.settings import WriterSettings
from rowledger.workers import LoadPool

__all__ = ["ConnectionShare", "NoPlaceToWait", "Share", "Wish"]

_OWN_SESSIONS = 1  # for leases, incidents and the claim
_WANTED_MAX = 9_999  # so many digits fit into a session's name
_WAIT_S = 0.5  # between two looks of a run that waits
_LOOK_MIN_S = 2.0  # what a look may take; of a longer lease half, so that the next renewal is in time


class NoPlaceToWait(ConnectionsExhausted):
    """So many runs wait already that this one must close its session, and come again."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a look has found: `claimed` connections are this run's, `possible` ones could be.

    `bound` is the limit that is the tightest (the server's, the database's or the role's); under it `runs` runs, this one
    among them, have `places` connections. `free` ones are claimed by no other run.
    """

    claimed: int
    possible: int
    free: int
    may_wait: bool
    others_hold_more: bool
    bound: str
    places: int
    runs: int

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        return cls(**{name: row[name] for name in cls.__slots__})

    def __str__(self) -> str:
        if self.runs == 1:
            return f"{counted(max(0, self.free), 'connection')} left"
        return f"{self.runs} runs share {counted(self.places, 'connection')} of the {self.bound}"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a run wants beside the session that has its claim.

    `workers` are connections of workers, on all hosts together; with less than `workers_min` the run cannot begin. As many as
    `workers_first` come before the `sessions` that begin and publish partitions, but for one of these.
    """

    workers: int
    sessions: int
    workers_min: int = 1
    workers_first: int | None = None
    unit: str = "worker"
    runner: str = "a run"

    @property
    def connections(self) -> int:
        return min(_WANTED_MAX, self.workers + self.sessions + _OWN_SESSIONS)

    @property
    def connections_min(self) -> int:
        return self.workers_min + 1 + _OWN_SESSIONS


class ConnectionShare:
    """How many connections one run may use now."""

    def __init__(self, holder: str, writer: WriterSettings, wish: Wish) -> None:
        self._holder = holder
        self._writer = writer
        self._wish = wish
        self._claimed = 0
        self._possible = 0  # at the look before

    @property
    def workers(self) -> int:
        """So many connections of workers may this run have now, on all hosts together."""
        return min(self._wish.workers, self._claimed - _OWN_SESSIONS - self.sessions)

    @property
    def sessions(self) -> int:
        """So many sessions may begin and publish partitions at the same time."""
        wish = self._wish
        first = wish.workers if wish.workers_first is None else wish.workers_first
        return max(1, min(wish.sessions, self._claimed - _OWN_SESSIONS - first))

    async def obtain(self, connection: asyncpg.Connection, say: Callable[[str], None]) -> Share:
        """Claim this run's share through a session that stays open, and wait while that is less than a run needs.

        Raises ConnectionsExhausted after `retry_budget_s`, or `chunk_deadline_s` later where another run has to give back
        what is not its own; NoPlaceToWait at once where too many runs wait.
        """
        began_at = time.monotonic()
        is_told = False
        while True:
            share = await self.claim(connection)
            if share.claimed:
                return share
            spare = self._writer.connections_spare_min
            told = (
                f"{counted(max(0, share.free), 'connection')} left to this role, with {spare} to stay free "
                f"(connections_spare_min), and {self._wish.runner} needs {self._wish.connections_min}"
                f"{f' ({share})' if share.runs > 1 else ''}; end idle sessions, or raise the limit of the server, the "
                "database or the role"
            )
            if not share.may_wait:
                raise NoPlaceToWait(told)
            patience_s = self._writer.retry_budget_s
            if share.others_hold_more:
                patience_s += self._writer.chunk_deadline_s
            if time.monotonic() - began_at >= patience_s:
                raise ConnectionsExhausted(told)
            if not is_told:
                say(f"cannot begin yet: {told}; waiting")
                is_told = True
            await asyncio.sleep(min(_WAIT_S, self._writer.lease_s / 4))

    async def claim(self, connection: asyncpg.Connection) -> Share:
        """Look, and claim what two looks in a row have found: a run that comes or goes for a moment moves no workers."""
        row = await connection.fetchrow(
            query("claim_connections"),
            self._holder,
            self._wish.connections,
            self._wish.connections_min,
            self._writer.connections_spare_min,
            self._claimed,
            min(self._claimed, self._possible),
            max(self._claimed, self._possible),
        )
        share = Share.of(row)
        self._claimed, self._possible = share.claimed, share.possible
        return share

    async def follow(
        self,
        own: SupervisorSessions,
        pool: LoadPool,
        sessions: SupervisorSessions,
        *,
        limited: Callable[[str], Awaitable[None]],
        log: Callable[[int, str], None],
    ) -> None:
        """Look through the run's `own` sessions, and fit the pool and the sessions to what is this run's now.

        `limited` is told when the run has fewer workers than before.
        """
        before = self.workers
        try:
            share = await own.alone(self.claim, time_s=max(_LOOK_MIN_S, self._writer.lease_s / 2))
            pool.resize(self.workers)
            await sessions.resize(self.sessions)
        except Exception as error:  # noqa: BLE001 - the next look does it; the leases must be renewed until then
            log(logging.WARNING, f"could not share connections with other runs: {summarize(error)}")
            return
        if self.workers < before:
            told = f"{counted(self.workers, self._wish.unit)} from now on instead of {before}: {share}"
            log(logging.WARNING, told)
            await limited(told)
        elif self.workers > before:
            log(logging.INFO, f"{counted(self.workers, self._wish.unit)} from now on instead of {before}: {share}")
