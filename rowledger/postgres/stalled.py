"""A statement that does not get on: cancelled a little before its worker would be killed, so that the server can answer.

A CHECK, a trigger, an index function may take for ever over one row. The answer to a cancel names the row of a COPY; a dead
worker has no answer.
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

_LEAD_MAX_S = 5.0  # what a cancel may take, before the supervisor kills the worker
_LATE_S = 1.0  # by which a look must be late before what was missed does not count


class StatementStalled(TimeoutError):
    """The server has worked on a statement for long without taking a row; the statement was cancelled."""


@contextlib.asynccontextmanager
async def stalls_cancelled(
    url: str, session: Session, progress: Callable[[], int], seconds: float
) -> AsyncIterator[None]:
    """Cancel the session's statement when `progress()` has stood still for nearly so many seconds.

    The block then ends in StatementStalled. A statement that waits for us, or for the network, is let be.
    """
    stalled_s: list[float] = []  # for how long, where a cancel is under way or done
    watch = asyncio.create_task(_watch(url, session, progress, seconds, stalled_s))
    try:
        yield
    except asyncpg.QueryCanceledError as error:
        if not stalled_s:
            raise
        told = f"no progress for {stalled_s[0]:.1f} s: {summarize(error)}"
        raise StatementStalled(told) from None  # the cancel is ours, and no conflict that a retry would end
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def _watch(
    url: str, session: Session, progress: Callable[[], int], seconds: float, stalled_s: list[float]
) -> None:
    """Cancel what has stood still, until cancelled oneself."""
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
            stalled_s[:] = [
                now - since
            ]  # before the cancel: the statement's end may be known here sooner than the cancel's
            if await _cancel(url, session, lead_s):
                since = time.monotonic()
            else:
                stalled_s.clear()


async def _cancel(url: str, session: Session, timeout_s: float) -> bool:
    """Whether the session's statement is cancelled now: not if it waits for its client, or for nothing."""
    identity = session.identity
    try:
        other = await connect(url, application_name="rowledger stall", timeout_s=timeout_s)
        try:
            return bool(
                await other.connection.fetchval(
                    query("cancel_statement"), identity.pid, identity.started_at, timeout=timeout_s
                )
            )
        finally:
            await other.close()
    except Exception:  # noqa: BLE001 - no connection to be had: the worker is killed, as without us
        return False
