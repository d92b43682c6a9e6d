"""Ending the sessions of others: those that are meant, and no others."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from pipeline_tests.support.database import fetch
from pipeline_tests.support.waiting import wait_until
from rowledger.postgres.queries import query
from rowledger.postgres.session import SessionIdentity, connect


def test_a_backend_that_got_a_dead_one_s_pid_is_left_alone(database: str) -> None:
    async def story() -> None:
        ours = await connect(database, application_name="test", timeout_s=20)
        stranger = await connect(database, application_name="a stranger", timeout_s=20)

        async def end(identity: SessionIdentity) -> object:
            return await ours.connection.fetchval(query("terminate_backend"), identity.pid, identity.started_at)

        try:
            dead = replace(stranger.identity, started_at=stranger.identity.started_at - timedelta(microseconds=1))
            assert await end(dead) is None
            assert await stranger.connection.fetchval("select 1") == 1
            assert await end(stranger.identity) is True
            still_there = (
                "select 1 from pg_stat_activity where application_name = 'a stranger' and datname = current_database()"
            )
            await asyncio.to_thread(wait_until, lambda: not fetch(database, still_there), "the stranger is gone")
        finally:
            stranger.connection.terminate()
            await ours.close()

    asyncio.run(story())
