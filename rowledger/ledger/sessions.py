"""The supervisor's sessions. Each piece of work is one transaction, bounded in time and retried as a whole."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import asyncpg

from rowledger.errors import DatabaseUnavailable, RowledgerError
from rowledger.ledger.loads import Holder
from rowledger.postgres import (
    OutageGate,
    Session,
    commit_in_time,
    connect,
    deadline,
    is_connection_lost,
    may_retry,
    retrying,
    root_cause,
    session_name,
    summarize,
    transaction,
    transaction_limits,
)
from rowledger.settings import WriterSettings

__all__ = ["SupervisorSessions"]

T = TypeVar("T")


class SupervisorSessions:
    """A few sessions for planning, reconciling, publishing and keeping leases.

    `size` bounds the sessions open at once; of them `kept` stay open when they have no work, all by default. Work is a function
    of a connection. It must tolerate a second call after a COMMIT whose reply was lost, so each piece first looks at what the
    database holds.
    """

    def __init__(
        self,
        url: str,
        settings: WriterSettings,
        *,
        size: int,
        kept: int | None = None,
        holder: Holder,
        gate: OutageGate,
        log: Callable[[int, str], None],
    ) -> None:
        self._url = url
        self._settings = settings
        self._size = size
        self._kept = size if kept is None else kept
        self._places = asyncio.Semaphore(size)
        self._places_owed = 0  # to be taken out of use as soon as the work in them ends
        self._at_work = 0
        self._idle: list[Session] = []
        self._name = session_name("control", holder.token.hex, host_no=holder.host.number)
        self._gate = gate
        self._log = log

    async def transaction(
        self,
        purpose: str,
        work: Callable[[asyncpg.Connection], Awaitable[T]],
        *,
        durable: bool = False,
        lock_timeout_s: float | None = None,
        first: str = "",
    ) -> T:
        """Run the work in one transaction and commit it; raises DatabaseUnavailable once the retry budget is spent.

        `first` is SQL that the server runs before the work, without a round trip of its own.

        `durable` waits for the disk at COMMIT. Beginning and publishing need that. What is committed between them is
        lost in a crash as a whole, or not at all.
        """
        settings = self._settings
        time_s = settings.statement_timeout_s * 2
        # A run that stands still in mid-publish would keep the target's lock from runs on other hosts. One that is alive pauses
        # between two statements only to try a lock again.
        idle_s = max(settings.lease_s, 2 * settings.retry_max_s)
        limits = transaction_limits(settings, idle_timeout_s=idle_s, durable=durable, lock_timeout_s=lock_timeout_s)

        async def attempt() -> T:
            await self._gate.passed()
            async with (
                self._session() as session,
                commit_in_time(self._url, session, settings.outage_budget_s) as commit_begins,
                deadline(session, time_s),
                transaction(session.connection, f"{limits};{first}"),
            ):
                result = await work(session.connection)
                if durable:
                    commit_begins.set()
                return result

        async def before_retry(error: BaseException) -> None:
            self._log(logging.WARNING, f"{purpose}: {summarize(root_cause(error))}; trying again")
            if is_connection_lost(error):
                await self._gate.recover()

        policy = retrying(settings, on_retry=before_retry, paused_s=lambda: self._gate.paused_s)
        try:
            return await policy(attempt)
        except DatabaseUnavailable:
            raise
        except Exception as error:
            if not may_retry(error):
                raise
            raise DatabaseUnavailable(
                f"{purpose}: given up after {settings.retry_budget_s} s of retries ({summarize(error)})"
            ) from error

    async def alone(self, work: Callable[[asyncpg.Connection], Awaitable[T]], *, time_s: float) -> T:
        """Run work of one statement, without a transaction around it and without retries; raises what it raises."""
        await self._gate.passed()
        async with self._session() as session, deadline(session, time_s):
            return await work(session.connection)

    def adopt(self, session: Session) -> None:
        """Take over a session that has no work. Call this before any work is in progress."""
        self._idle.append(session)

    async def resize(self, size: int) -> None:
        """Have at most this many sessions open from now on; one that is to close does so after its work."""
        for _ in range(self._size, size):
            if self._places_owed:
                self._places_owed -= 1
            else:
                self._places.release()
        for _ in range(size, self._size):
            if self._places.locked():
                self._places_owed += 1
            else:
                await self._places.acquire()  # at once, since a place is free
        self._size = self._kept = size
        while self._idle and self._at_work + len(self._idle) > size:
            await self._idle.pop(0).close()

    async def open_one(self) -> None:
        """Open a session before there is work for it. Where that fails, the work that needs one says why."""
        with contextlib.suppress(RowledgerError):
            async with self._session():
                pass

    async def close(self) -> None:
        """Close the idle sessions. Call this when no work is in progress."""
        idle, self._idle = self._idle, []
        # In parallel, because a silent server delays each of them.
        await asyncio.gather(*(session.close() for session in idle))

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        """A session that returns to the idle ones when the block ends well, and is cut when it does not."""
        async with self._place():
            session = self._idle.pop() if self._idle else None
            if session is None or session.connection.is_closed():
                session = await connect(
                    self._url, application_name=self._name, timeout_s=self._settings.connect_timeout_s
                )
            try:
                yield session
            except BaseException as error:
                if isinstance(error, asyncpg.PostgresError) and not session.connection.is_closed():
                    await self._put_back(session)  # the transaction was rolled back properly
                else:
                    session.connection.terminate()
                raise
            await self._put_back(session)

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        await self._places.acquire()
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1
            if self._places_owed:
                self._places_owed -= 1
            else:
                self._places.release()

    async def _put_back(self, session: Session) -> None:
        """Keep the session for other work; where fewer are to stay open, the youngest of the idle ones is closed."""
        self._idle.append(session)
        self._idle.sort(key=lambda idle: idle.identity.started_at)
        if self._places_owed or len(self._idle) > self._kept:
            await self._idle.pop().close()
