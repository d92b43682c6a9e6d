"""Kills, interrupts and broken connections of whole runs: the same run or the next one ends with the exact rows."""

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pipeline_tests.support import run_process
from pipeline_tests.support.assertions import assert_accounted, assert_nothing_left_over, table_rows
from pipeline_tests.support.database import fetch, fetch_value, sessions
from pipeline_tests.support.loading import Recorder, load, load_one, set_failpoints
from pipeline_tests.support.own_server import crash
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, events, readings, write_source
from pipeline_tests.support.tables_at_fault import FORKING_READINGS
from pipeline_tests.support.waiting import wait_until, worker_pids
from rowledger.embedded.server import EmbeddedServer
from rowledger.errors import DatabaseUnavailable, PartitionBusy
from rowledger.failpoints import FailpointError, Place

_COMMITTED = "select count(*) from rowledger.chunk where state = 'committed'"


def _children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in worker_pids(process.pid)]


def _kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL, and see the workers follow."""
    workers = _children(process)
    process.kill()
    process.wait(timeout=10)
    assert not psutil.wait_procs(workers, timeout=5)[1], "workers outlived their supervisor"


@pytest.mark.parametrize(
    "place", ["in_planning", "before_reconcile", "in_reconcile", "before_publish", "after_publish"]
)
def test_a_run_killed_at_any_point_is_finished_by_the_next(
    database: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]], place: str
) -> None:
    old, rows = events(40), events(250)
    write_source(tmp_path, "events", DAY, old)
    load_one(database, EVENTS, tmp_path, DAY)
    before = table_rows(database, EVENTS)
    write_source(tmp_path, "events", DAY, rows)

    process = start(database, EVENTS, tmp_path, [DAY], failpoints=f"{place}=sigkill")
    assert process.wait(timeout=60) == -signal.SIGKILL
    wait_until(lambda: not sessions(database), "the killed run's sessions are gone", timeout_s=10)
    if place == "after_publish":
        assert_accounted(database, EVENTS, rows)
    else:
        assert table_rows(database, EVENTS) == before
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert report.error is None
    assert report.resumed == (place in {"before_reconcile", "in_reconcile", "before_publish"})
    assert_accounted(database, EVENTS, rows)


def test_a_run_killed_while_chunks_are_copied_takes_its_workers_along_and_frees_its_partition_at_once(
    database: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    rows = events(600)
    write_source(tmp_path, "events", DAY, rows)
    process = start(database, EVENTS, tmp_path, [DAY], failpoints="mid_copy=sleep@chunk=4", workers=2, lease_s=300)
    wait_until(lambda: (fetch_value(database, _COMMITTED) or 0) >= 3, "chunks commit")
    _kill(process)
    report = load_one(database, EVENTS, tmp_path, DAY, busy_wait_s=10)
    assert report.error is None
    assert report.resumed
    assert fetch_value(database, "select epoch from rowledger.load") == 2
    assert_accounted(database, EVENTS, rows)


def test_a_partition_that_another_run_is_loading_is_refused_with_its_name(
    database: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    rows = events(200)
    write_source(tmp_path, "events", DAY, rows)
    process = start(database, EVENTS, tmp_path, [DAY], failpoints="mid_copy=sleep@chunk=1", lease_s=2)
    wait_until(lambda: (fetch_value(database, _COMMITTED) or 0) >= 1, "a chunk commits")
    # The wait is longer than the lease, which the other run renews as long as it lives.
    report = load_one(database, EVENTS, tmp_path, DAY, busy_wait_s=3)
    assert isinstance(report.error, PartitionBusy)
    assert f"process {process.pid}" in str(report.error)
    assert DAY in str(report.error)
    assert process.poll() is None
    _kill(process)
    assert load_one(database, EVENTS, tmp_path, DAY, busy_wait_s=10).error is None
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize(("number", "times"), [(signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGINT, 2)])
def test_an_interrupt_ends_everything_soon_and_a_rerun_resumes(
    database: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]], number: int, times: int
) -> None:
    rows = events(600)
    write_source(tmp_path, "events", DAY, rows)
    process = start(database, EVENTS, tmp_path, [DAY], failpoints="mid_copy=sleep@chunk=3", workers=2)
    wait_until(lambda: (fetch_value(database, _COMMITTED) or 0) >= 3, "chunks commit")
    workers = _children(process)
    assert workers
    started = time.monotonic()
    for _ in range(times):
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    output, _ = process.communicate(timeout=10)
    assert time.monotonic() - started < 10
    assert process.returncode == (run_process.INTERRUPTED if number == signal.SIGTERM else -signal.SIGINT)
    assert "interrupted by SIGTERM" in output or "KeyboardInterrupt" in output
    assert not psutil.wait_procs(workers, timeout=1)[1]
    wait_until(lambda: not sessions(database), "sessions are gone", timeout_s=5)
    assert fetch(database, "select * from rowledger.lease") == []
    assert fetch_value(database, "select count(*) from events") == 0
    assert fetch_value(database, "select state from rowledger.load") == "loading"
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert report.error is None
    assert report.resumed
    assert_accounted(database, EVENTS, rows)


def test_an_interrupt_ends_a_worker_that_waits_for_a_lock(
    database: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    rows = events(200)
    write_source(tmp_path, "events", DAY, rows)
    blocker = start(database, EVENTS, tmp_path, [DAY], failpoints="after_claim=sleep@chunk=0;after_claim=sleep@chunk=1")
    waiting = (
        "select count(*) from pg_stat_activity where application_name like 'rowledger worker%' and xact_start is not null "
        "and datname = current_database()"
    )
    wait_until(lambda: fetch_value(database, waiting), "a chunk is claimed")
    blocker.send_signal(signal.SIGTERM)
    assert blocker.wait(timeout=10) == run_process.INTERRUPTED
    wait_until(lambda: not sessions(database), "the worker's session is gone", timeout_s=10)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)


def _nuisance(stop: threading.Event, act: Callable[[], object], pause_s: float) -> threading.Thread:
    def run() -> None:
        while not stop.wait(pause_s):
            with contextlib.suppress(psutil.Error, ProcessLookupError, OSError):
                act()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_workers_killed_at_random_moments_lose_and_double_nothing(database: str, tmp_path: Path) -> None:
    days = [DAY, NEXT_DAY]
    for day in days:
        write_source(tmp_path, "events", day, events(1500, day))
    chance = random.Random(198)
    killed: list[int] = []
    stop = threading.Event()

    def kill_one() -> None:
        # Each kill waits for work that was done since the last one, so the load ends, and kills come while it is under way.
        if fetch_value(database, _COMMITTED) < 15 * (len(killed) + 1):
            return
        if pids := [pid for pid in worker_pids() if pid not in killed]:
            pid = chance.choice(pids)
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    nuisance = _nuisance(stop, kill_one, 0.02)
    try:
        limits = {"workers": 2, "chunk_rows_max": 25, "chunk_attempts_max": 100, "respawns_max": 1000}
        reports = load(database, EVENTS, tmp_path, days, **limits)
    finally:
        stop.set()
        nuisance.join()
    assert [report.error for report in reports] == [None, None]
    assert len(killed) >= 3
    recorded = fetch(database, "select pid, exit_code, chunk_no from rowledger.incident")
    assert {row["exit_code"] for row in recorded} == {-signal.SIGKILL}
    named = {incident.pid for report in reports for incident in report.incidents}
    # One that was killed while the pool was closing owed nobody a chunk, and came too late for a report.
    at_work = {row["pid"] for row in recorded if row["chunk_no"] is not None}
    assert at_work <= named <= {row["pid"] for row in recorded} <= set(killed)
    assert len(set(killed) - named) <= 2
    assert_accounted(database, EVENTS, [row for day in days for row in events(1500, day)])


def test_terminated_backends_cost_a_retry_and_no_row(database: str, tmp_path: Path) -> None:
    rows = events(2000)
    write_source(tmp_path, "events", DAY, rows)
    stop = threading.Event()
    terminated: list[int] = []

    def terminate() -> None:
        terminated.append(
            fetch_value(
                database,
                "select count(*) from (select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name like 'rowledger%' and datname = current_database()) as ended",
            )
        )

    nuisance = _nuisance(stop, terminate, 0.15)
    try:
        report = load_one(database, EVENTS, tmp_path, DAY, chunk_rows_max=40, workers=2)
    finally:
        stop.set()
        nuisance.join()
    assert report.error is None
    assert sum(terminated) > 0
    assert report.deaths == (), "a lost connection is no dead worker"
    assert_accounted(database, EVENTS, rows)


def test_a_writer_whose_backend_is_terminated_in_mid_copy_goes_on(database: str, tmp_path: Path) -> None:
    rows = events(200)
    write_source(tmp_path, "events", DAY, rows)
    # The trigger ends the very backend that copies, once.
    fetch(database, "create sequence public.turns")
    fetch(
        database,
        "create function public.strike() returns trigger language plpgsql as $$ begin "
        "if nextval('public.turns') = 50 then perform pg_terminate_backend(pg_backend_pid()); end if; return new; end $$",
    )
    fetch(
        database,
        "create function public.watch() returns event_trigger language plpgsql as $$ declare found record; begin "
        "for found in select * from pg_event_trigger_ddl_commands() "
        "where object_type = 'table' and schema_name = 'rowledger' and command_tag = 'CREATE TABLE' loop "
        "execute format('create trigger strike before insert on %s for each row execute function public.strike()', "
        "found.object_identity); end loop; end $$",
    )
    fetch(database, "create event trigger watch on ddl_command_end execute function public.watch()")
    observer = Recorder()
    report = load_one(database, EVENTS, tmp_path, DAY, observer=observer)
    assert report.error is None
    assert report.retries >= 1
    assert report.deaths == ()
    assert "the connection was lost" in observer.text
    assert_accounted(database, EVENTS, rows)


def test_a_server_that_crashes_and_comes_back_in_mid_load_costs_no_row(
    own_server: EmbeddedServer, tmp_path: Path
) -> None:
    url = own_server.url()
    rows = events(3000)
    write_source(tmp_path, "events", DAY, rows)
    crashed = threading.Event()

    def crash_and_start() -> None:
        wait_until(lambda: _committed(url) >= 5, "chunks commit", timeout_s=60)
        crash(own_server)
        crashed.set()
        own_server.ensure_running()

    nuisance = threading.Thread(target=crash_and_start)
    nuisance.start()
    try:
        report = load_one(url, EVENTS, tmp_path, DAY, chunk_rows_max=20, workers=2, retry_budget_s=60)
    finally:
        nuisance.join()
    assert crashed.is_set()
    assert report.error is None
    assert_accounted(url, EVENTS, rows)


def _committed(url: str) -> int:
    with contextlib.suppress(Exception):  # the ledger is not there yet
        return int(fetch_value(url, _COMMITTED))
    return 0


def test_a_server_that_stays_away_fails_the_load_in_bounded_time_and_the_next_run_resumes(
    own_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = own_server.url()
    rows = events(300)
    write_source(tmp_path, "events", DAY, rows)

    async def stop_server(place: Place, **_facts: object) -> None:
        if place is Place.BEFORE_RECONCILE:
            crash(own_server)

    with monkeypatch.context() as patch:
        patch.setattr("rowledger.publish.finish.async_failpoint", stop_server)
        started = time.monotonic()
        report = load_one(url, EVENTS, tmp_path, DAY, outage_budget_s=1)
    assert time.monotonic() - started < 30
    assert isinstance(report.error, DatabaseUnavailable)
    own_server.ensure_running()
    rerun = load_one(url, EVENTS, tmp_path, DAY)
    assert rerun.error is None
    assert_accounted(url, EVENTS, rows)
    assert_nothing_left_over(url)


def test_failpoints_of_the_supervisor_can_be_set_for_this_process_alone(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(tmp_path, "events", DAY, events(50))
    set_failpoints(monkeypatch, "before_publish=raise")
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert isinstance(report.error, FailpointError)
    set_failpoints(monkeypatch, "after_publish=raise")
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert report.resumed
    set_failpoints(monkeypatch, "")
    assert_accounted(database, EVENTS, events(50))


def test_a_worker_s_death_is_noticed_while_a_child_of_it_holds_its_pipes(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(tmp_path, "readings", "all", readings(20))
    child = tmp_path / "readings" / "all.parquet.child"
    noticed_at: list[float] = []

    class Watch(Recorder):
        def log(self, level: int, message: str) -> None:
            super().log(level, message)
            if "died" in message:
                noticed_at.append(time.time())

    set_failpoints(monkeypatch, "while_encoding=sigkill@attempt=1")
    try:
        assert load_one(database, FORKING_READINGS, tmp_path, "all", observer=Watch(), stall_timeout_s=60).error is None
        assert psutil.pid_exists(int(child.read_text())), "the child was to outlive its worker"
    finally:
        os.kill(int(child.read_text()), signal.SIGKILL)
    (at,) = noticed_at
    assert at - child.stat().st_mtime < 1
    assert fetch_value(database, "select count(*) from forking_readings") == 20
