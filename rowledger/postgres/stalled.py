"""Cancel a statement that makes no progress, shortly before its worker would be killed, so that the server can answer.

A CHECK, a trigger or an index function may never finish with one row. The answer to a cancel names the row of a COPY; a killed
worker gets no answer.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import asyncpg

from rowledger.postgres.queries import query
from rowledger.postgres.session import Session, connect
from rowledger.postgres.sqlstate import summarize

__all__ = ["StatementStalled", "stalls_cancelled"]

_LEAD_MAX_S = 5.0  # how long a cancel may take before the supervisor kills the worker
_LATE_S = 1.0  # when a poll is later than this, the time without a poll does not count as a stall


class StatementStalled(TimeoutError):
    """The server worked on a statement for too long without progress; the statement was cancelled."""


@contextlib.asynccontextmanager
async def stalls_cancelled(
    url: str, session: Session, progress: Callable[[], int], seconds: float
) -> AsyncIterator[None]:
    """Cancel the session's statement when `progress()` has not changed for nearly this many seconds.

    The block then raises StatementStalled. A statement that waits for its client or for the network is not cancelled.
    """
    stalled_s: list[float] = []  # the stall's length, once a cancel is under way or done
    watch = asyncio.create_task(_watch(url, session, progress, seconds, stalled_s))
    try:
        yield
    except asyncpg.QueryCanceledError as error:
        if not stalled_s:
            raise
        told = f"no progress for {stalled_s[0]:.1f} s: {summarize(error)}"
        raise StatementStalled(told) from None  # without its cause: a retry would not help against our own cancel
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def _watch(
    url: str, session: Session, progress: Callable[[], int], seconds: float, stalled_s: list[float]
) -> None:
    """Cancel stalled statements until the watch itself is cancelled."""
    lead_s = min(_LEAD_MAX_S, seconds / 4)
    look_s = lead_s / 5
    seen, since = progress(), time.monotonic()
    while True:
        asleep_at = time.monotonic()
        await asyncio.sleep(look_s)
        now = time.monotonic()
        if progress() != seen or now - asleep_at > look_s + _LATE_S:
            seen, since = progress(), now
        elif now - since > seconds - lead_s:
            # Set before the cancel: the statement may end here before the cancel's answer arrives.
            stalled_s[:] = [now - since]
            if await _cancel(url, session, lead_s):
                since = time.monotonic()
            else:
                stalled_s.clear()


async def _cancel(url: str, session: Session, timeout_s: float) -> bool:
    """Cancel the session's statement; False if it waits for its client, has ended, or the server cannot be reached."""
    identity = session.identity
    try:
        async with await connect(url, application_name="rowledger stall", timeout_s=timeout_s) as other:
            return bool(
                await other.connection.fetchval(
                    query("cancel_statement"), identity.pid, identity.started_at, timeout=timeout_s
                )
            )
    except Exception:  # noqa: BLE001 - no connection: the supervisor kills the worker, as it would without the watch
        return False
