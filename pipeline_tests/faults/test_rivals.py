"""Two at one partition, or at one chunk: whoever was given up for dead and wakes up writes nothing."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from pipeline_tests.support.assertions import assert_accounted, table_rows
from pipeline_tests.support.database import fetch, fetch_value, sessions
from pipeline_tests.support.loading import load_one, set_failpoints
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from pipeline_tests.support.waiting import is_stopped, stopped_workers, wait_until, worker_pids
from rowledger.errors import PartitionBusy

Start = Callable[..., subprocess.Popen[str]]
END_S = 120


@pytest.mark.slow
def test_runs_that_race_for_a_partition_take_turns(database: str, tmp_path: Path, start: Start) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    rivals = [start(database, EVENTS, tmp_path, [DAY], busy_wait_s=END_S) for _ in range(3)]
    outputs = [rival.communicate(timeout=END_S)[0] for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0, 0, 0], "\n".join(outputs)
    states = fetch(database, "select state from rowledger.load order by load_id")
    assert [row[0] for row in states] == ["replaced", "replaced", "published"]
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize(
    "place",
    [
        "before_commit",
        pytest.param("before_begin", marks=pytest.mark.slow),
        pytest.param(
            "mid_copy",
            marks=pytest.mark.slow,
        ),
        pytest.param("after_commit", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_sleeps_over_its_lease_is_taken_over_and_writes_nothing_when_it_wakes_up(
    database: str, tmp_path: Path, start: Start, place: str
) -> None:
    """All of its processes stand still, as on a machine that was paused; the server ends the transaction they left open."""
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    patience = {"lease_s": 1, "stall_timeout_s": 4, "statement_timeout_s": 4, "chunk_attempts_max": 20}
    sleeper = start(database, EVENTS, tmp_path, [DAY], failpoints=f"{place}=sigstop@chunk=1,attempt=1", **patience)
    wait_until(lambda: stopped_workers(sleeper), "a worker has stopped", timeout_s=60)
    os.killpg(sleeper.pid, signal.SIGSTOP)

    report = load_one(database, EVENTS, tmp_path, DAY, busy_wait_s=60, retry_budget_s=60)
    assert report.error is None
    assert report.resumed
    assert fetch_value(database, "select epoch from rowledger.load") == 2
    published = table_rows(database, EVENTS)

    os.killpg(sleeper.pid, signal.SIGCONT)
    output, _ = sleeper.communicate(timeout=END_S)
    assert sleeper.returncode == 1, output
    assert "Fenced" in output
    assert table_rows(database, EVENTS) == published
    assert fetch_value(database, "select count(*) from rowledger.load") == 1
    assert_accounted(database, EVENTS, rows)


def test_a_run_that_sleeps_before_it_publishes_is_taken_over_too(database: str, tmp_path: Path, start: Start) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    sleeper = start(
        database, EVENTS, tmp_path, [DAY], failpoints="before_publish=sigstop", lease_s=1, stall_timeout_s=4
    )
    wait_until(lambda: is_stopped(sleeper.pid), "the run has stopped", timeout_s=60)
    report = load_one(database, EVENTS, tmp_path, DAY, busy_wait_s=60, retry_budget_s=60)
    assert report.error is None
    published = table_rows(database, EVENTS)
    os.killpg(sleeper.pid, signal.SIGCONT)
    output, _ = sleeper.communicate(timeout=END_S)
    assert sleeper.returncode == 1, output
    assert table_rows(database, EVENTS) == published
    assert_accounted(database, EVENTS, rows)


@pytest.fixture
def freezer() -> Iterator[Path]:
    """A control group that freezes its processes so that not even SIGKILL ends them, as a disk that does not answer does."""
    root = Path("/sys/fs/cgroup/freezer")
    if not root.exists():
        pytest.skip("no freezer of cgroup v1 here; that of v2 lets SIGKILL through")
    folder = root / f"rowledger-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"this user may not make control groups ({error.strerror})")
    try:
        yield folder
    finally:
        (folder / "freezer.state").write_text("THAWED")
        wait_until(lambda: not (folder / "cgroup.procs").read_text(), "the group's processes are gone")
        folder.rmdir()


def test_a_worker_that_cannot_be_killed_at_once_loses_its_chunk_and_never_writes(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, freezer: Path
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "mid_copy=sigstop@chunk=1,attempt=1")
    limits = {"stall_timeout_s": 4, "close_timeout_s": 0.5, "chunk_attempts_max": 20}
    with ThreadPoolExecutor() as threads:
        loading = threads.submit(load_one, database, EVENTS, tmp_path, DAY, **limits)
        (zombie,) = wait_until(lambda: [pid for pid in worker_pids() if is_stopped(pid)], "it stops", timeout_s=60)
        (freezer / "cgroup.procs").write_text(str(zombie))
        (freezer / "freezer.state").write_text("FROZEN")
        os.kill(zombie, signal.SIGCONT)  # once it is thawed it would go on, were it not for the SIGKILL it was sent
        report = loading.result()
        assert psutil.pid_exists(zombie), "the load has not waited for it"
        (freezer / "freezer.state").write_text("THAWED")
    assert report.error is None
    assert (1, zombie) in [(incident.chunk_no, incident.pid) for incident in report.incidents]
    assert fetch_value(database, "select worker_pid from rowledger.chunk where chunk_no = 1") != zombie
    assert_accounted(database, EVENTS, rows)


def test_a_live_run_is_not_robbed_when_the_session_of_its_lease_is_ended(
    database: str, tmp_path: Path, start: Start
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    holder = start(
        database, EVENTS, tmp_path, [DAY], failpoints="mid_copy=sleep@chunk=1", lease_s=300, stall_timeout_s=300
    )
    wait_until(lambda: fetch_value(database, "select count(*) from rowledger.lease"), "it begins", timeout_s=60)
    chunk_0 = "select count(*) from rowledger.chunk where state = 'committed'"
    wait_until(lambda: fetch_value(database, chunk_0), "a chunk commits", timeout_s=60)
    ended = "select pg_terminate_backend(pid) from pg_stat_activity join rowledger.lease on pid = backend_pid"
    assert [row[0] for row in fetch(database, ended)] == [True]
    gone = "select count(*) from pg_stat_activity join rowledger.lease on pid = backend_pid"
    wait_until(lambda: fetch_value(database, gone) == 0, "the session is gone", timeout_s=30)
    rival = load_one(database, EVENTS, tmp_path, DAY, busy_wait_s=1)
    assert isinstance(rival.error, PartitionBusy)
    holder.kill()
    holder.wait(30)
    wait_until(lambda: not sessions(database), "the killed run's sessions are gone", timeout_s=30)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)
