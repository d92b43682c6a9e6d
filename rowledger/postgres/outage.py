"""What a run does while the server is away: all its workers wait at one gate, and one task tries to connect."""

import asyncio
import logging
import time
from collections.abc import Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_delay, wait_random_exponential

from rowledger.errors import DatabaseOutage, DatabaseUnavailable
from rowledger.postgres.retry import may_retry, root_cause
from rowledger.postgres.session import connect
from rowledger.postgres.sqlstate import summarize
from rowledger.settings import WriterSettings

__all__ = ["OutageGate"]


class OutageGate:
    """The server's availability, as one run sees it.

    A worker that loses a connection calls `recover`. If the server answers at once, the worker continues: one lost connection
    is not an outage. Otherwise the gate closes for all workers until the server answers or `outage_budget_s` is spent. `ended`
    then gets a sentence about the outage.
    """

    def __init__(
        self, url: str, limits: WriterSettings, *, log: Callable[[int, str], None], ended: Callable[[str], None]
    ) -> None:
        self._url = url
        self._limits = limits
        self._log = log
        self._ended = ended
        self._knocking: asyncio.Task[None] | None = None
        self._given_up: DatabaseUnavailable | None = None
        self.paused_s = 0.0
        """Seconds that this run has waited for its server so far. They are not charged to any retry budget."""
        self.outages = 0
        """How often the server was away."""
        self.away = ""
        """What the server has answered last, while it is away or given up; else empty."""

    async def passed(self) -> None:
        """Wait while the gate is closed; raises DatabaseUnavailable when it will not open again."""
        if self._knocking is not None:
            await asyncio.shield(self._knocking)
        if self._given_up is not None:
            raise self._given_up

    async def recover(self) -> None:
        """After a lost connection: return when the server answers, or raise DatabaseUnavailable."""
        if self._given_up is None and (self._knocking is None or self._knocking.done()):
            self._knocking = asyncio.create_task(self._knock())
        await self.passed()

    async def close(self) -> None:
        """Stop trying to connect. The workers that still wait are being cancelled too."""
        if self._knocking is not None:
            self._knocking.cancel()
            await asyncio.gather(self._knocking, return_exceptions=True)

    async def _knock(self) -> None:
        started = time.monotonic()
        limits = self._limits
        refused = ""

        def before_sleep(state: RetryCallState) -> None:
            nonlocal refused
            error = state.outcome.exception() if state.outcome else None
            answer = summarize(root_cause(error)) if error is not None else "no answer"
            if not refused:
                self.outages += 1
                self._log(
                    logging.WARNING,
                    f"the database is away ({answer}); all workers pause until it is back, at most {limits.outage_budget_s} s",
                )
            self.away = refused = answer

        policy = AsyncRetrying(
            retry=retry_if_exception(may_retry),
            wait=wait_random_exponential(multiplier=limits.retry_initial_s, max=limits.retry_max_s),
            stop=stop_after_delay(limits.outage_budget_s),
            before_sleep=before_sleep,
            reraise=True,
        )
        try:
            await policy(self._answer)
        except DatabaseUnavailable as error:
            away_s = time.monotonic() - started
            self._given_up = error  # the server refuses the connection: waiting does not help
            if may_retry(error):
                self._given_up = DatabaseOutage(
                    f"the database was away for {away_s:.0f} s, outage_budget_s is {limits.outage_budget_s} s; its last "
                    f"answer: {summarize(root_cause(error))}. Committed chunks stay; see to the server, then rerun"
                )
            self.away = str(self._given_up)
            self._ended(self.away)
            return
        self.away = ""
        if refused:
            away_s = time.monotonic() - started
            self.paused_s += away_s
            told = f"the database was away for {away_s:.1f} s ({refused}); all workers paused and go on"
            self._log(logging.WARNING, told)
            self._ended(told)

    async def _answer(self) -> None:
        session = await connect(self._url, application_name="rowledger gate", timeout_s=self._limits.connect_timeout_s)
        await session.close()
