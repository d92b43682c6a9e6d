"""A missing synchronous standby: every COMMIT would wait for it forever, and its backend would outlive the client.

`synchronous_standby_names` is a promise of the server's owner, so Rowledger makes no COMMIT local. A run does not start without
the standby. A COMMIT that waits too long ends in an error that says what has happened: the server has the transaction on its
disk, and the standby may not have it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg

from rowledger.errors import StandbyMissing
from rowledger.postgres.queries import query
from rowledger.postgres.session import Session, connect

__all__ = ["commit_in_time", "no_standby", "require_standby"]

_POLL_S = 1.0
_CONNECT_MAX_S = 10.0
_END_S = 2.0  # how long a cancel may take to end the backend of a COMMIT

_REMEDY = (
    "bring the standby back, or take it out of synchronous_standby_names, or set synchronous_commit = local for this role; "
    "then rerun"
)


async def require_standby(connection: asyncpg.Connection) -> None:
    """Raise StandbyMissing where a COMMIT would wait for a standby that is not connected."""
    if (names := await connection.fetchval(query("missing_standby"))) is not None:
        raise no_standby(names)


def no_standby(names: str) -> StandbyMissing:
    """The error of an operation that does not start because a standby of `synchronous_standby_names` is not connected."""
    return StandbyMissing(
        f"no synchronous standby is connected (synchronous_standby_names = {names!r}), so no COMMIT would end; nothing was "
        f"done; {_REMEDY}"
    )


@contextlib.asynccontextmanager
async def commit_in_time(url: str, session: Session, seconds: float) -> AsyncIterator[asyncio.Event]:
    """Limit how long a COMMIT in the block may wait for a standby, from when the event is set.

    After that its backend is terminated, which leaves the transaction committed on this server, and StandbyMissing is raised.
    A cancel terminates the backend too, so that it does not keep its locks.
    """
    begins, ending = asyncio.Event(), asyncio.Lock()
    watch = asyncio.create_task(_watch(url, session, begins, ending, seconds))
    try:
        yield begins
    except asyncio.CancelledError:
        if begins.is_set() and not watch.done():
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_END_S):
                    await _end_waiting(url, session, _END_S)
        raise
    except Exception:
        async with ending:  # the lost connection is noticed here before the watch learns that it ended the backend
            pass
        if watch.done() and not watch.cancelled() and watch.exception() is None:
            raise StandbyMissing(
                f"the transaction is committed on this server, but no synchronous standby has confirmed it within {seconds:g} s"
                f" (synchronous_standby_names = {watch.result()!r}); {_REMEDY}"
            ) from None  # without its cause: a lost connection would be retried
        raise
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def _watch(url: str, session: Session, begins: asyncio.Event, ending: asyncio.Lock, seconds: float) -> str:
    """Terminate the backend when its COMMIT has waited for a standby for this long; returns `synchronous_standby_names`.

    `ending` is locked, for a bounded time, while the backend may be terminated.
    """
    await begins.wait()
    await asyncio.sleep(seconds)
    while True:
        with contextlib.suppress(Exception):  # the server may be away: the COMMIT has its own deadline
            async with ending:
                if (names := await _end_waiting(url, session, seconds)) is not None:
                    return names
        await asyncio.sleep(_POLL_S)


async def _end_waiting(url: str, session: Session, seconds: float) -> str | None:
    """Terminate the session's backend if it waits for a standby; returns `synchronous_standby_names` then, else None."""
    timeout_s = min(seconds, _CONNECT_MAX_S)
    other = await connect(url, application_name="rowledger standby", timeout_s=timeout_s)
    try:
        identity = session.identity
        names: str | None = await other.connection.fetchval(
            query("end_commit_in_wait"), identity.pid, identity.started_at, timeout=timeout_s
        )
        return names
    finally:
        with contextlib.suppress(Exception):  # no error in closing may hide that the COMMIT was ended
            await other.close()
