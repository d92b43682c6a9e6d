"""Ending the sessions of a run, or of one of its hosts: all of them, and no others."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence

import asyncpg
import pytest

from pipeline_tests.support.database import fetch, fetch_value, sessions
from pipeline_tests.support.roles import Role, new_role
from pipeline_tests.support.waiting import wait_until
from rowledger.ledger.attempts import fetch_status
from rowledger.ledger.loads import find_loading_load
from rowledger.ledger.run_sessions import HostSession, terminate_host_sessions, terminate_sessions
from rowledger.ledger.status import AttemptState
from rowledger.postgres.session_names import session_name

RUN, OTHER_RUN = uuid.uuid4(), uuid.uuid4()
OF_HOST = (
    session_name("control", RUN.hex, host_no=12),
    session_name("worker", RUN.hex, host_no=12, pid=4_194_304),
    session_name("worker", RUN.hex, host_no=12, pid=7) + " - [::1]:1",  # as a pooler hands it on
)
OF_OTHERS = (
    session_name("control", RUN.hex),
    session_name("worker", RUN.hex, pid=12),  # in a container pids are small
    session_name("worker", RUN.hex, pid=124),
    session_name("control", RUN.hex, host_no=1),
    session_name("worker", RUN.hex, host_no=1, pid=12),
    session_name("worker", RUN.hex, host_no=2, pid=12),
    session_name("control", RUN.hex, host_no=2),
    session_name("control", OTHER_RUN.hex, host_no=12),
    session_name("worker", OTHER_RUN.hex, host_no=12, pid=7),
    "rowledger source",
    f"psql 12.7 of {RUN.hex}",
)


@pytest.fixture
def role(database: str) -> Iterator[Role]:
    with new_role(database) as made:
        yield made


@contextlib.asynccontextmanager
async def _open(url: str, names: Sequence[str]) -> AsyncIterator[list[asyncpg.Connection]]:
    async with contextlib.AsyncExitStack() as stack:
        opened = []
        for name in names:
            connection = await asyncpg.connect(url, timeout=20, server_settings={"application_name": name})
            stack.callback(connection.terminate)
            opened.append(connection)
        yield opened


async def _require(database: str, *, gone: list[asyncpg.Connection], kept: list[asyncpg.Connection]) -> None:
    """Wait until the first are gone from the server, and require the others to go on."""
    pids = [session.get_server_pid() for session in gone]
    are_gone = "select not exists (select from pg_stat_activity where pid = any ($1))"
    await asyncio.to_thread(wait_until, lambda: fetch_value(database, are_gone, pids), "the sessions have ended")
    assert [await session.fetchval("select 1", timeout=20) for session in kept] == [1] * len(kept)


def test_the_sessions_of_a_host_are_ended_by_its_number_and_those_of_others_go_on(database: str) -> None:
    async def story() -> None:
        async with (
            _open(database, ["test"]) as (ours,),
            _open(database, OF_HOST) as lost,
            _open(database, OF_OTHERS) as kept,
        ):
            ended = await terminate_host_sessions(ours, RUN, 12)
            owner = await ours.fetchval("select current_user")
            assert set(ended) == {
                HostSession(role, pid, session.get_server_pid(), owner, may_end=True)
                for (role, pid), session in zip(
                    [("control", None), ("worker", 4_194_304), ("worker", 7)], lost, strict=True
                )
            }
            await _require(database, gone=lost, kept=kept)
            assert await terminate_host_sessions(ours, RUN, 12) == ()

    asyncio.run(story())


def test_a_session_that_the_role_may_not_end_is_reported_and_the_others_are_ended(database: str, role: Role) -> None:
    async def story() -> None:
        names = [session_name("worker", RUN.hex, host_no=3, pid=pid) for pid in (1, 2)]
        async with (
            _open(role.url, ["test"]) as (ours,),
            _open(database, names[:1]) as (foreign,),
            _open(role.url, names[1:]) as (own,),
        ):
            found = await terminate_host_sessions(ours, RUN, 3)
            assert {session.pid: session.may_end for session in found} == {1: False, 2: True}
            assert {session.owner for session in found} == {role.name, await foreign.fetchval("select current_user")}
            await _require(database, gone=[own], kept=[foreign])

    asyncio.run(story())


def test_one_that_takes_a_load_over_ends_the_sessions_of_all_hosts_of_the_former_run(database: str) -> None:
    async def story() -> None:
        of_run = [*OF_HOST, *OF_OTHERS[:7]]
        async with (
            _open(database, ["test"]) as (ours,),
            _open(database, of_run) as lost,
            _open(database, OF_OTHERS[7:]) as kept,
        ):
            assert await terminate_sessions(ours, RUN) == []
            await _require(database, gone=lost, kept=kept)

    asyncio.run(story())


@pytest.mark.parametrize("host_no", [-1, 0, 100])
def test_the_run_s_own_host_is_not_ended_by_a_number(database: str, host_no: int) -> None:
    async def story() -> None:
        async with _open(database, ["test"]) as (ours,), _open(database, OF_OTHERS) as kept:
            with pytest.raises(ValueError, match="1 to 99"):
                await terminate_host_sessions(ours, RUN, host_no)
            await _require(database, gone=[], kept=kept)

    asyncio.run(story())


@pytest.mark.parametrize(
    "name",
    [*OF_HOST, session_name("control", RUN.hex) + " - 10.0.0.1:5432"],
    ids=["supervisor on a host", "worker on a host", "worker by a pooler", "supervisor by a pooler"],
)
def test_a_load_is_at_work_as_long_as_a_host_of_its_run_has_a_session(database: str, name: str) -> None:
    fetch(
        database,
        "insert into rowledger.load (table_name, target, partition_key, manifest_digest, enqueued_rows, chunks) "
        "values ('t', 'public.t', 'day', '', 0, 0)",
    )
    fetch(
        database,
        "insert into rowledger.lease (load_id, holder, holder_pid, holder_host, backend_pid, backend_start) "
        "select load_id, $1, 1, 'head', 1, now() from rowledger.load",
        RUN,
    )

    async def story() -> None:
        async with _open(database, ["test"]) as (ours,):
            for is_open in (True, False):
                async with _open(database, [name] if is_open else []):
                    found = await find_loading_load(ours, "public.t", "day")
                    assert found is not None
                    assert found.lease is not None
                    assert found.lease.has_session is is_open
                    (row,) = await fetch_status(ours, "t", None)
                    assert row.latest.state is (AttemptState.LOADING if is_open else AttemptState.INTERRUPTED)
                await asyncio.to_thread(wait_until, lambda: not sessions(database), "the session has ended")

    asyncio.run(story())
