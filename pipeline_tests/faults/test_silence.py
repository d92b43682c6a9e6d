"""Processes that are stopped, not dead: backends while a run is cancelled, a whole run while the next one takes over."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from pipeline_tests.support import run_process
from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value, sessions
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.server_gate import Where, gate
from pipeline_tests.support.tables import DAY, EVENTS, events, wide_events, write_source
from pipeline_tests.support.waiting import wait_until, worker_pids
from rowledger.embedded.server import EmbeddedServer

Starter = Callable[..., subprocess.Popen[str]]


@contextlib.contextmanager
def _held_in_copy(database: str) -> Iterator[Callable[[], object]]:
    with gate(database, Where.IN_COPY) as closed:
        yield closed.waiting


@contextlib.contextmanager
def _held_in_publish(database: str) -> Iterator[Callable[[], object]]:
    """Somebody else's lock on the target, which only publishing has to wait for."""
    waiting = (
        "select pid from pg_stat_activity where application_name like 'rowledger control%' and wait_event_type = 'Lock' "
        "and datname = current_database()"
    )
    holder = psycopg2.connect(database, connect_timeout=20)
    try:
        with holder.cursor() as cursor:
            cursor.execute("lock table public.events in share update exclusive mode")
        yield lambda: fetch_value(database, waiting)
    finally:
        holder.close()


@pytest.mark.parametrize("held", [_held_in_copy, _held_in_publish])
def test_a_run_whose_server_has_fallen_silent_is_cancelled_in_time(
    own_server: EmbeddedServer,
    tmp_path: Path,
    start: Starter,
    held: Callable[[str], contextlib.AbstractContextManager[Callable[[], object]]],
) -> None:
    database = own_server.url()
    rows = events(250)
    write_source(tmp_path, "events", DAY, events(40))
    load_one(database, EVENTS, tmp_path, DAY)
    write_source(tmp_path, "events", DAY, rows)
    with held(database) as waiting:
        process = start(database, EVENTS, tmp_path, [DAY], publish_lock_timeout_s=60)
        wait_until(waiting, "the run waits for its server", timeout_s=60)
        workers = [psutil.Process(pid) for pid in worker_pids(process.pid)]
        assert workers
        with _stopped_backends(database):
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=30)
            assert time.monotonic() - started < 10, output
            assert process.returncode == run_process.INTERRUPTED, output
            assert not psutil.wait_procs(workers, timeout=1)[1]
    wait_until(lambda: not sessions(database), "the sessions of the cancelled run are gone", timeout_s=15)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert report.error is None
    assert report.resumed
    assert_accounted(database, EVENTS, rows)


@contextlib.contextmanager
def _stopped_backends(database: str) -> Iterator[None]:
    """All of the run's backends stopped: they neither answer nor end, and nobody hears that."""
    found = fetch(
        database,
        "select pid from pg_stat_activity where application_name like 'rowledger%' and datname = current_database()",
    )
    backends = [psutil.Process(row["pid"]) for row in found]
    assert len(backends) >= 2, "a worker's and the supervisor's"
    for backend in backends:
        backend.suspend()
    try:
        yield
    finally:
        for backend in backends:
            backend.resume()


def test_a_partition_is_taken_over_from_a_run_that_is_stopped_in_mid_copy(
    database: str, tmp_path: Path, start: Starter
) -> None:
    rows = wide_events(1000)
    write_source(tmp_path, "events", DAY, rows, row_group_rows=1000)
    patience = {"chunk_rows_max": 1000, "stall_timeout_s": 300, "lease_s": 2}
    with gate(database, Where.IN_COPY) as closed:
        process = start(database, EVENTS, tmp_path, [DAY], **patience)
        backend_pid = closed.wait()
        os.killpg(process.pid, signal.SIGSTOP)
    # Its backend takes what is on the way, and then waits for the rest of the rows, the load's row locked.
    waiting = "select wait_event = 'ClientRead' and query like 'COPY %' from pg_stat_activity where pid = $1"
    wait_until(lambda: fetch_value(database, waiting, backend_pid), "the backend waits for the stopped worker")
    report = load_one(
        database, EVENTS, tmp_path, DAY, busy_wait_s=30, lock_timeout_s=1, retry_budget_s=10, chunk_rows_max=1000
    )
    assert report.error is None
    assert report.resumed
    os.killpg(process.pid, signal.SIGCONT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert f"{DAY} Fenced(" in output
    assert fetch_value(database, "select epoch from rowledger.load") == 2
    assert_accounted(database, EVENTS, rows)
