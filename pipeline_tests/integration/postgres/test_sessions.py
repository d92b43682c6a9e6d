"""Ending the sessions of others: those that are meant, and no others."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from pipeline_tests.support.database import fetch
from pipeline_tests.support.waiting import wait_until
from rowledger.postgres.queries import query
from rowledger.postgres.session import Session, SessionIdentity, connect
from rowledger.postgres.session_names import names_of_run

_RUN = "0123456789abcdef" * 2


async def _end(ours: Session, identity: SessionIdentity) -> object:
    """What the server answers to one that ends a session of the run; None where it has no such session."""
    return await ours.connection.fetchval(
        query("terminate_backend"), identity.pid, identity.started_at, names_of_run(_RUN)
    )


def test_a_backend_that_a_pooler_gave_to_another_client_is_left_alone(database: str) -> None:
    async def story() -> None:
        ours = await connect(database, application_name="test", timeout_s=20)
        backend = await connect(database, application_name=f"rowledger worker 7 of {_RUN}", timeout_s=20)
        try:
            for name in ("psql", f"rowledger worker 7 of {_RUN[::-1]}", f"of {_RUN}", ""):
                await backend.connection.execute(f"set application_name = '{name}'")
                assert await _end(ours, backend.identity) is None, name
            with_address = (
                f"rowledger worker 7 of {_RUN} - 10.0.0.1:5432"  # as PgBouncer's application_name_add_host makes it
            )
            await backend.connection.execute(f"set application_name = '{with_address}'")
            assert await _end(ours, backend.identity) is True
        finally:
            backend.connection.terminate()
            await ours.close()

    asyncio.run(story())


def test_a_backend_that_got_a_dead_one_s_pid_is_left_alone(database: str) -> None:
    async def story() -> None:
        ours = await connect(database, application_name="test", timeout_s=20)
        stranger = await connect(database, application_name=f"rowledger worker 7 of {_RUN}", timeout_s=20)

        async def end(identity: SessionIdentity) -> object:
            return await _end(ours, identity)

        try:
            dead = replace(stranger.identity, started_at=stranger.identity.started_at - timedelta(microseconds=1))
            assert await end(dead) is None
            assert await stranger.connection.fetchval("select 1") == 1
            assert await end(stranger.identity) is True
            still_there = "select 1 from pg_stat_activity where application_name like '%' || $1"
            await asyncio.to_thread(wait_until, lambda: not fetch(database, still_there, _RUN), "the stranger is gone")
        finally:
            stranger.connection.terminate()
            await ours.close()

    asyncio.run(story())
