"""A connection that was opened and then given up is closed: nobody else knows of it."""

import asyncio

import asyncpg
import pytest

from pipeline_tests.support.database import fetch
from rowledger.errors import DatabaseUnavailable
from rowledger.postgres import session

_SESSIONS = (
    "select pid, state, query from pg_stat_activity where application_name = 'rowledger given up' "
    "and datname = current_database()"
)


async def _until(database: str, count: int) -> None:
    """Wait for so many of our sessions."""
    watcher = await asyncpg.connect(database, timeout=20)
    try:
        async with asyncio.timeout(15):
            while len(await watcher.fetch(_SESSIONS)) != count:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.02)
    finally:
        await watcher.close(timeout=10)


@pytest.mark.parametrize("by", ["timeout", "cancel"])
def test_a_connection_whose_first_questions_are_not_answered_in_time_is_closed(
    database: str, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(session, "query", lambda _name: "select pg_sleep(60), $1::text[], $2::text[]")

    async def give_up() -> None:
        opening = asyncio.create_task(
            session.connect(database, application_name="rowledger given up", timeout_s=3 if by == "timeout" else 60)
        )
        if by == "cancel":
            await _until(database, 1)
            opening.cancel()
        with pytest.raises(DatabaseUnavailable if by == "timeout" else asyncio.CancelledError):
            await opening
        # The task, and with it the error and its frames, is alive: the connection was closed, not collected.
        await _until(database, 0)

    asyncio.run(give_up())
    assert fetch(database, _SESSIONS) == []
