"""Runs that share few connections: each gets its part, a late one too, and none of their rows is lost on the way."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, events, write_source
from pipeline_tests.support.waiting import wait_until
from rowledger.load.connection_share import ConnectionShare, NoPlaceToWait, Wish
from rowledger.settings import WriterSettings

_PLACES = 9  # of the role; one of them is left for a run that waits
_WORKERS = 6  # with its two sessions a run wants all others
_CHUNKS = 20
_DAYS = [f"2024-03-{day:02}" for day in range(1, 5)]

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def role(server: str) -> Iterator[str]:
    """A role that may have few connections."""
    name = f"rowledger_sharing_{os.getpid()}"
    fetch(server, f"create role {name} login password 'sharing' connection limit {_PLACES}")
    yield name
    fetch(server, f"drop role {name}")


@pytest.fixture
def shared(role: str, empty_database: str) -> str:
    """A database that belongs to that role, by the role's own URL."""
    parts = urlsplit(empty_database)
    fetch(empty_database, f'alter database "{parts.path[1:]}" owner to {role}')
    fetch(empty_database, f"alter schema public owner to {role}")
    return urlunsplit(parts._replace(netloc=f"{role}:sharing@{parts.netloc.rpartition('@')[2]}"))


class _Gates:
    """Holds each chunk of the days that are given in its transaction, until it is let through."""

    def __init__(self, database: str) -> None:
        self._database = database
        fetch(database, "create table public.gate (partition_key text, chunk_no integer)")
        fetch(
            database,
            "create function public.wait_at_gate() returns trigger language plpgsql security definer as $$ begin "
            "while exists (select from public.gate join rowledger.load using (partition_key) "
            "where load.load_id = new.load_id and gate.chunk_no = new.chunk_no) loop perform pg_sleep(0.01); end loop; "
            "return null; end $$",
        )
        fetch(
            database,
            "create trigger wait_at_gate after update on rowledger.chunk for each row "
            "execute function public.wait_at_gate()",
        )

    def close(self, *days: str) -> None:
        statement = (
            "insert into public.gate select day, no from unnest($1::text[]) as day, generate_series(0, $2 - 1) as no"
        )
        fetch(self._database, statement, list(days), _CHUNKS)

    def let_through(self, day: str, *, up_to: int = _CHUNKS) -> None:
        fetch(self._database, "delete from public.gate where partition_key = $1 and chunk_no < $2", day, up_to)

    def held(self, day: str) -> int:
        """Workers of the day's run that stand at a gate."""
        return int(
            fetch_value(
                self._database,
                "select count(*) from pg_stat_activity as activity "
                "join rowledger.lease "
                "on activity.application_name like 'rowledger worker % of ' || replace(holder::text, '-', '') "
                "join rowledger.load using (load_id) where partition_key = $1 and wait_event = 'PgSleep'",
                day,
            )
        )


@pytest.fixture
def gates(shared: str, empty_database: str, tmp_path: Path, start: Start) -> _Gates:
    """Gates, all open, behind a first load that makes ledger and table."""
    write_source(tmp_path, "events", "2024-02-01", [])
    assert start(shared, EVENTS, tmp_path, ["2024-02-01"]).wait(60) == 0
    return _Gates(empty_database)


def _claims(database: str) -> list[str]:
    """What the runs say of themselves, as `CLAIMED/WANTED`."""
    rows = fetch(
        database,
        "select substring(application_name from '^rowledger share (\\S+) of') as claim from pg_stat_activity "
        "where datname = current_database() and application_name like 'rowledger share %' order by 1",
    )
    return [row["claim"] for row in rows]


def _incidents(database: str) -> list[str]:
    rows = fetch(
        database, "select summary from rowledger.incident where kind = 'connections_limited' order by incident_id"
    )
    return [row["summary"] for row in rows]


def _begin(start: Start, shared: str, landing: Path, day: str) -> subprocess.Popen[str]:
    return start(
        shared, EVENTS, landing, [day], workers=_WORKERS, chunk_rows_max=100, lease_s=0.4, worker_memory_bytes=2**26
    )


def _write(landing: Path, *days: str) -> list[dict[str, object]]:
    """A source of many chunks for each of the days; returns all rows."""
    all_rows: list[dict[str, object]] = []
    for day in days:
        rows = events(_CHUNKS * 100, day=day)
        write_source(landing, "events", day, rows)
        all_rows += rows
    return all_rows


def _green(*runs: subprocess.Popen[str]) -> None:
    for run in runs:
        output, _ = run.communicate(timeout=120)
        assert run.returncode == 0, output


@pytest.fixture
def greedy(gates: _Gates, shared: str, empty_database: str, tmp_path: Path, start: Start) -> subprocess.Popen[str]:
    """A run that has all connections, and each of its workers in the middle of a chunk."""
    _write(tmp_path, DAY, NEXT_DAY)
    gates.close(DAY, NEXT_DAY)
    run = _begin(start, shared, tmp_path, DAY)
    wait_until(lambda: gates.held(DAY) == _WORKERS, "the first run has all connections")
    assert _claims(empty_database) == ["8/8"]
    return run


@pytest.fixture
def late(
    greedy: subprocess.Popen[str], gates: _Gates, shared: str, empty_database: str, tmp_path: Path, start: Start
) -> subprocess.Popen[str]:
    """A second run that has its share, after the first one has given it back."""
    run = _begin(start, shared, tmp_path, NEXT_DAY)
    wait_until(lambda: _claims(empty_database) == ["0/8", "4/8"], "the second run waits, and the first one knows")
    assert gates.held(DAY) == _WORKERS, "no chunk is cut off"
    gates.let_through(DAY, up_to=_WORKERS)
    wait_until(lambda: (gates.held(DAY), gates.held(NEXT_DAY)) == (2, 2), "both have their share")
    assert greedy.poll() is None
    return run


def test_a_late_run_gets_its_share_from_a_greedy_one_and_no_row_is_lost(
    greedy: subprocess.Popen[str], late: subprocess.Popen[str], gates: _Gates, empty_database: str, tmp_path: Path
) -> None:
    assert _claims(empty_database) == ["4/8", "4/8"]
    gates.let_through(DAY)
    gates.let_through(NEXT_DAY)
    _green(greedy, late)
    of_first, of_second = _incidents(empty_database)
    assert of_first == "2 workers from now on instead of 6: 2 runs share 8 connections of the role"
    assert of_second.endswith("instead of 6: 2 runs share 8 connections of the role")
    assert_accounted(empty_database, EVENTS, _write(tmp_path, DAY, NEXT_DAY))


def test_a_run_grows_again_when_the_other_one_has_ended(
    greedy: subprocess.Popen[str], late: subprocess.Popen[str], gates: _Gates, empty_database: str, tmp_path: Path
) -> None:
    gates.let_through(NEXT_DAY)
    _green(late)
    wait_until(lambda: gates.held(DAY) == _WORKERS, "the first run has all connections again")
    assert _claims(empty_database) == ["8/8"]
    gates.let_through(DAY)
    _green(greedy)
    assert_accounted(empty_database, EVENTS, _write(tmp_path, DAY, NEXT_DAY))


def test_a_killed_run_gives_back_its_share(
    greedy: subprocess.Popen[str],
    late: subprocess.Popen[str],
    gates: _Gates,
    shared: str,
    empty_database: str,
    tmp_path: Path,
    start: Start,
) -> None:
    late.kill()
    wait_until(lambda: gates.held(DAY) == _WORKERS, "the first run has all connections again")
    gates.let_through(DAY)
    gates.let_through(NEXT_DAY)
    _green(greedy, _begin(start, shared, tmp_path, NEXT_DAY))
    assert_accounted(empty_database, EVENTS, _write(tmp_path, DAY, NEXT_DAY))


def test_a_waiting_run_that_is_killed_has_no_claim_any_more(
    greedy: subprocess.Popen[str], gates: _Gates, shared: str, empty_database: str, tmp_path: Path, start: Start
) -> None:
    waiting = _begin(start, shared, tmp_path, NEXT_DAY)
    wait_until(lambda: _claims(empty_database) == ["0/8", "4/8"], "the second run waits, and the first one knows")
    waiting.kill()
    wait_until(lambda: _claims(empty_database) == ["8/8"], "the first run claims all again")
    assert gates.held(DAY) == _WORKERS
    gates.let_through(DAY)
    _green(greedy)
    assert_accounted(empty_database, EVENTS, _write(tmp_path, DAY))


def test_more_runs_than_the_connections_carry_take_turns(
    gates: _Gates, shared: str, empty_database: str, tmp_path: Path, start: Start
) -> None:
    rows = _write(tmp_path, *_DAYS)
    gates.close(*_DAYS)
    runs = [_begin(start, shared, tmp_path, day) for day in _DAYS]
    wait_until(lambda: sum(gates.held(day) > 0 for day in _DAYS) == 2, "two runs are at work, which have their minimum")
    for day in _DAYS:
        gates.let_through(day)
    _green(*runs)
    assert_accounted(empty_database, EVENTS, rows)


@pytest.mark.parametrize(
    ("wanted", "shares"),
    [
        ([8, 8], [4, 4]),
        ([3, 20], [3, 5]),
        ([4, 4], [4, 4]),
        ([20], [8]),
        ([5], [5]),
        ([20, 20, 20], [3, 3, 3]),  # more than there is: each may have what a run needs, and one of them waits for it
    ],
)
def test_connections_are_divided_so_that_what_one_run_leaves_is_the_others(
    shared: str, wanted: list[int], shares: list[int]
) -> None:
    async def story() -> list[int]:
        others = [
            await asyncpg.connect(shared, server_settings={"application_name": f"rowledger share 0/{want} of {n:032x}"})
            for n, want in enumerate(wanted)
        ]
        found = []
        try:
            for n, (connection, want) in enumerate(zip(others, wanted, strict=True)):
                share = ConnectionShare(f"{n:032x}", WriterSettings(), Wish(want - 2, 1))
                found.append((await share.claim(connection)).possible)
                await connection.execute(f"set application_name = 'rowledger share 0/{want} of {n:032x}'")
        finally:
            for connection in others:
                await connection.close()
        return found

    assert asyncio.run(story()) == shares


def test_a_run_for_which_no_place_to_wait_is_left_says_so_at_once(shared: str) -> None:
    async def story() -> None:
        async def claim(number: int) -> asyncpg.Connection:
            connection = await asyncpg.connect(shared, server_settings={"application_name": "rowledger setup"})
            await ConnectionShare(f"{number:032x}", WriterSettings(), Wish(6, 1)).claim(connection)
            return connection

        at_work, waiting = await claim(0), await claim(1)
        last = await asyncpg.connect(shared, server_settings={"application_name": "rowledger setup"})
        share = ConnectionShare(f"{2:032x}", WriterSettings(), Wish(6, 1))
        with pytest.raises(
            NoPlaceToWait, match=r"0 connections left .* a run needs 3 \(3 runs share 8 connections of the role\)"
        ):
            await share.obtain(last, lambda _: None)
        await at_work.close()
        assert (await share.obtain(last, lambda _: None)).claimed == 4
        for connection in (waiting, last):
            await connection.close()

    asyncio.run(story())


def test_two_runs_that_look_at_the_same_moment_do_not_both_take_the_last_connections(
    shared: str, empty_database: str
) -> None:
    waiting = "select count(*) from pg_stat_activity where wait_event = 'advisory' and datname = current_database()"

    async def story() -> list[int]:
        greedy = ConnectionShare(f"{0:032x}", WriterSettings(), Wish(2, 1))
        holder = await asyncpg.connect(shared)
        await greedy.claim(holder)
        setup = {"application_name": "rowledger setup"}
        others = [await asyncpg.connect(shared, server_settings=setup) for _ in range(2)]
        turn = await asyncpg.connect(empty_database)
        async with turn.transaction():
            await turn.execute("select pg_advisory_xact_lock(hashtext('rowledger connections'))")
            shares = [ConnectionShare(f"{n:032x}", WriterSettings(), Wish(20, 1)) for n in (1, 2)]
            claims = [
                asyncio.create_task(share.claim(connection)) for share, connection in zip(shares, others, strict=True)
            ]
            await asyncio.to_thread(wait_until, lambda: fetch_value(empty_database, waiting) == 2, "both look")
        claimed = [(await claim).claimed for claim in claims]
        for connection in (holder, *others, turn):
            await connection.close()
        return claimed

    assert sorted(asyncio.run(story())) == [0, 4]
