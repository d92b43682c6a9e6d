"""Two roles on one ledger, neither a superuser: one takes over what the other has left, whatever of it it may touch."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_accounted, table_rows
from pipeline_tests.support.database import fetch, fetch_value, sessions
from pipeline_tests.support.loading import Recorder, load_one
from pipeline_tests.support.roles import Role, execute, new_role
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from pipeline_tests.support.waiting import stopped_workers, wait_until, worker_pids
from rowledger.errors import PartitionBusy
from rowledger.ledger.upgrade import run_migrate
from rowledger.publish.verify import run_verify

Start = Callable[..., subprocess.Popen[str]]
END_S = 120
STAGING = "select relname from pg_class where relname ~ '^staging_' and relkind = 'r' order by relname"


@pytest.fixture
def roles(database: str) -> Iterator[tuple[Role, Role]]:
    """Two writers; the ledger and the target belong to a third role."""
    with ExitStack() as stack:
        pair = (stack.enter_context(new_role(database)), stack.enter_context(new_role(database)))
        fetch(
            database,
            "create table public.events (at timestamptz not null, event_id integer not null, name text not null, "
            "amount double precision not null, note text, code varchar(8) not null, primary key (at, event_id)) "
            "partition by range (at)",
        )
        fetch(
            database,
            "create table public.events_all partition of public.events for values from ('2024-01-01') to ('2025-01-01')",
        )
        for role in pair:
            execute(
                database,
                f"grant usage, create on schema rowledger to {role.name};"
                f"grant select, insert, update, delete on all tables in schema rowledger to {role.name};"
                f"grant select, insert, delete on public.events to {role.name}",
            )
        yield pair


@pytest.mark.parametrize("place", ["mid_copy", "before_publish"])
def test_another_role_takes_over_what_a_killed_run_has_left(
    database: str, roles: tuple[Role, Role], tmp_path: Path, start: Start, place: str
) -> None:
    one, other = roles
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    at = "@chunk=1" if place == "mid_copy" else ""
    killed = start(one.url, EVENTS, tmp_path, [DAY], failpoints=f"{place}=sleep{at}")
    what = "select count(*) from rowledger.chunk where state = 'committed'"
    wait_until(lambda: (fetch_value(database, what) or 0) >= 1, "a chunk commits", timeout_s=60)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait(30)
    wait_until(lambda: not sessions(database), "the killed run's sessions are gone", timeout_s=30)
    leftover = fetch(database, STAGING)[0][0]

    observer = Recorder()
    report = load_one(other.url, EVENTS, tmp_path, DAY, busy_wait_s=60)
    assert report.error is None
    assert not report.resumed
    assert [row[0] for row in fetch(database, STAGING)] == [leftover], "no load has failed for what it may not drop"
    assert load_one(other.url, EVENTS, tmp_path, DAY, observer=observer).error is None
    assert f"staging table rowledger.{leftover} of a load that has ended belongs to role {one.name}" in observer.text
    assert load_one(one.url, EVENTS, tmp_path, DAY).error is None
    assert fetch(database, STAGING) == [], "its own role's next run drops it"
    assert_accounted(database, EVENTS, rows)
    assert all(result.passed for result in run_verify(EVENTS, url=other.url))


def test_the_owner_of_the_ledger_drops_what_any_role_has_left(
    database: str, roles: tuple[Role, Role], tmp_path: Path
) -> None:
    write_source(tmp_path, "events", DAY, events(50))
    fetch(roles[0].url, "create table rowledger.staging_999 ()")
    run_migrate(database)
    assert fetch(database, STAGING) == []


def test_a_frozen_run_of_another_role_is_waited_for_in_bounded_time_and_never_writes_afterwards(
    database: str, roles: tuple[Role, Role], tmp_path: Path, start: Start
) -> None:
    one, other = roles
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    sleeper = start(
        one.url,
        EVENTS,
        tmp_path,
        [DAY],
        failpoints="before_commit=sigstop@chunk=1,attempt=1",
        lease_s=1,
        stall_timeout_s=300,
        statement_timeout_s=300,
    )
    wait_until(lambda: stopped_workers(sleeper), "a worker has stopped", timeout_s=60)
    os.killpg(sleeper.pid, signal.SIGSTOP)
    refused = load_one(other.url, EVENTS, tmp_path, DAY, busy_wait_s=4).error
    assert isinstance(refused, PartitionBusy)
    assert f"of role {one.name} in the middle of a chunk" in str(refused)
    assert "pg_signal_backend" in str(refused)

    fetch(database, f"grant pg_signal_backend to {other.name}")
    assert load_one(other.url, EVENTS, tmp_path, DAY, busy_wait_s=60).error is None
    published = table_rows(database, EVENTS)
    os.killpg(sleeper.pid, signal.SIGCONT)
    output, _ = sleeper.communicate(timeout=END_S)
    assert sleeper.returncode == 1, output
    assert table_rows(database, EVENTS) == published
    wait_until(lambda: not worker_pids(sleeper.pid), "its workers are gone")
    execute(database, ";".join(f"drop table rowledger.{row[0]}" for row in fetch(database, STAGING)))
    assert_accounted(database, EVENTS, rows)


def test_a_frozen_run_of_another_role_between_its_chunks_is_fenced_without_being_ended(
    database: str, roles: tuple[Role, Role], tmp_path: Path, start: Start
) -> None:
    one, other = roles
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    sleeper = start(
        one.url,
        EVENTS,
        tmp_path,
        [DAY],
        failpoints="before_begin=sigstop@chunk=1,attempt=1",
        lease_s=1,
        stall_timeout_s=300,
    )
    wait_until(lambda: stopped_workers(sleeper), "a worker has stopped", timeout_s=60)
    os.killpg(sleeper.pid, signal.SIGSTOP)
    assert load_one(other.url, EVENTS, tmp_path, DAY, busy_wait_s=60).error is None
    published = table_rows(database, EVENTS)
    os.killpg(sleeper.pid, signal.SIGCONT)
    output, _ = sleeper.communicate(timeout=END_S)
    assert sleeper.returncode == 1, output
    assert "Fenced" in output
    assert table_rows(database, EVENTS) == published
    execute(database, ";".join(f"drop table rowledger.{row[0]}" for row in fetch(database, STAGING)))
    assert_accounted(database, EVENTS, rows)
