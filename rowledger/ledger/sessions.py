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

    `size` bounds the sessions open at once. Work is a function of a connection. It must tolerate a second call after
    a COMMIT whose reply was lost, so each piece first looks at what the database holds.
    """

    def __init__(
        self,
        url: str,
        settings: WriterSettings,
        *,
        size: int,
        holder: Holder,
        gate: OutageGate,
        log: Callable[[int, str], None],
    ) -> None:
        self._url = url
        self._settings = settings
        self._places = asyncio.Semaphore(size)
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
        async with self._places:
            session = self._idle.pop() if self._idle else None
            if session is None or session.connection.is_closed():
                session = await connect(
                    self._url, application_name=self._name, timeout_s=self._settings.connect_timeout_s
                )
            try:
                yield session
            except BaseException as error:
                if isinstance(error, asyncpg.PostgresError) and not session.connection.is_closed():
                    self._idle.append(session)  # the transaction was rolled back properly
                else:
                    session.connection.terminate()
                raise
            self._idle.append(session)
