"""Every failpoint with every action: whatever happens where, the run or the next one ends with the exact rows.

`test_failpoints` looks closer at what each kind of end is called; here all combinations are gone through.
"""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_tests.support import run_process
from pipeline_tests.support.assertions import assert_accounted, table_rows
from pipeline_tests.support.database import fetch, fetch_value, sessions
from pipeline_tests.support.loading import Recorder, load, load_one, set_failpoints
from pipeline_tests.support.partitions import DAYS_OF_MARCH
from pipeline_tests.support.tables import DAY, EVENTS, Row, events, write_source
from pipeline_tests.support.waiting import is_stopped, wait_until
from rowledger.failpoints import _ACTIONS, Place
from rowledger.ledger.outcomes import IncidentKind

_IN_WORKER = [
    Place.WHILE_ENCODING,
    Place.BEFORE_BEGIN,
    Place.AFTER_CLAIM,
    Place.MID_COPY,
    Place.BEFORE_COMMIT,
    Place.AFTER_COMMIT,
    Place.WHILE_REPORTING,
]
_IN_SUPERVISOR = [
    Place.IN_PLANNING,
    Place.BEFORE_RECONCILE,
    Place.IN_RECONCILE,
    Place.BEFORE_PUBLISH,
    Place.AFTER_PUBLISH,
]
_ELSEWHERE = [  # of other ways than a planned replacement's, each with faults of its own
    Place.WHILE_PLANNING,  # test_planning
    Place.IN_SPOOLING,  # test_producers
    Place.BEFORE_RECORD,  # test_streaming
    Place.BEFORE_SEAL,
    Place.IN_PUBLISH,  # test_write_mode_faults
    Place.BEFORE_REPLAY,  # test_replay_faults
    Place.IN_REPLAY,
    Place.BEFORE_REPLAY_COMMIT,
    Place.AFTER_REPLAY_COMMIT,
]
_DEADLY = {"sigkill": -signal.SIGKILL, "sigsegv": -signal.SIGSEGV, "exit0": 0, "exit1": 1}
_FREEZING = ["sigstop", "sleep"]
_RAISING = ["raise", "raise_hostile"]
_GREEDY = "eat_memory"
_DAYS = dict(zip(_IN_WORKER, DAYS_OF_MARCH, strict=False))  # each place has a day of its own


def test_the_sweep_leaves_no_place_and_no_action_out() -> None:
    assert {*_IN_WORKER, *_IN_SUPERVISOR, *_ELSEWHERE, Place.IN_HEARTBEAT} == set(Place)
    assert {*_DEADLY, *_FREEZING, *_RAISING, _GREEDY} == set(_ACTIONS)


def _write_days(landing: Path) -> list[Row]:
    rows = [row for day in _DAYS.values() for row in events(60, day)]
    for day in _DAYS.values():
        write_source(landing, "events", day, events(60, day), row_group_rows=20)
    return rows


def _first_attempts(action: str) -> str:
    return ";".join(f"{place}={action}@partition={day},chunk=1,attempt=1" for place, day in _DAYS.items())


@pytest.mark.parametrize("action", [*_DEADLY, *_FREEZING, _GREEDY])
def test_a_worker_that_ends_or_freezes_costs_one_attempt_wherever_it_is(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    rows = _write_days(tmp_path)
    set_failpoints(monkeypatch, _first_attempts(action))
    limits = {"stall_timeout_s": 4, "rss_soft_limit_bytes": 500 * 2**20, "rss_hard_limit_bytes": 500 * 2**20}
    reports = load(database, EVENTS, tmp_path, list(_DAYS.values()), workers=3, chunk_rows_max=20, **limits)
    assert [report.error for report in reports] == [None] * len(_DAYS)
    died = {report.partition_key for report in reports for death in report.deaths if death.chunk_no == 1}
    assert died == set(_DAYS.values())
    named = {death.exit_code for report in reports for death in report.deaths if death.chunk_no == 1}
    expected = _DEADLY.get(action, -signal.SIGKILL)
    # On a busy machine a worker that is slow to come up may be taken for a frozen one besides.
    assert {expected} <= named <= {expected, -signal.SIGKILL}
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("action", _RAISING)
def test_a_worker_that_raises_fails_its_partition_and_the_rerun_resumes(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    rows = _write_days(tmp_path)
    set_failpoints(monkeypatch, _first_attempts(action))
    reports = load(database, EVENTS, tmp_path, list(_DAYS.values()), workers=2, chunk_rows_max=20)
    assert [place for place, report in zip(_DAYS, reports, strict=True) if report.published] == [Place.WHILE_REPORTING]
    set_failpoints(monkeypatch, "")
    reruns = load(database, EVENTS, tmp_path, list(_DAYS.values()), chunk_rows_max=20)
    assert [report.error for report in reruns] == [None] * len(_DAYS)
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("action", sorted(_ACTIONS))
def test_workers_without_a_pulse_are_noticed(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    rows = events(30)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, f"in_heartbeat={action}")
    # No beat ever comes, so nothing tells of a stall or of memory: coming up takes too long.
    limits = {"chunk_attempts_max": 1, "crash_rows_max": 0, "start_timeout_s": 3}
    report = load_one(database, EVENTS, tmp_path, DAY, **limits)
    assert report.error is not None
    assert report.deaths
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("place", _IN_SUPERVISOR)
@pytest.mark.parametrize("action", _DEADLY)
def test_a_supervisor_that_ends_leaves_its_work_to_the_next_run(
    database: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]], place: Place, action: str
) -> None:
    old, rows = events(20), events(60)
    write_source(tmp_path, "events", DAY, old)
    load_one(database, EVENTS, tmp_path, DAY)
    before = table_rows(database, EVENTS)
    write_source(tmp_path, "events", DAY, rows)

    process = start(database, EVENTS, tmp_path, [DAY], failpoints=f"{place}={action}", lease_s=300)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == _DEADLY[action]
    assert "'published'" not in output
    wait_until(lambda: not sessions(database), "the dead run's sessions are gone", timeout_s=20)
    if place is Place.AFTER_PUBLISH:
        assert_accounted(database, EVENTS, rows)
    else:
        assert table_rows(database, EVENTS) == before
    report = load_one(database, EVENTS, tmp_path, DAY, busy_wait_s=10)
    assert report.error is None
    assert report.resumed == (place not in {Place.IN_PLANNING, Place.AFTER_PUBLISH})
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("place", _IN_SUPERVISOR)
@pytest.mark.parametrize("action", _RAISING)
def test_a_supervisor_that_raises_fails_its_partition_and_no_other(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Place, action: str
) -> None:
    days = list(_DAYS.values())[:2]
    rows = [row for day in days for row in events(40, day)]
    for day in days:
        write_source(tmp_path, "events", day, events(40, day))
    set_failpoints(monkeypatch, f"{place}={action}@partition={days[0]}")
    observer = Recorder()
    failed, other = load(database, EVENTS, tmp_path, days, observer=observer)
    assert failed.error is not None
    assert other.error is None
    assert len(failed.error.args) > 0
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, days[0]).error is None
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("place", _IN_SUPERVISOR)
def test_a_supervisor_that_freezes_is_overtaken_and_finds_itself_fenced(
    database: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]], place: Place
) -> None:
    rows = events(60)
    write_source(tmp_path, "events", DAY, rows)
    frozen = start(database, EVENTS, tmp_path, [DAY], failpoints=f"{place}=sigstop", lease_s=1)
    wait_until(lambda: is_stopped(frozen.pid), "the run froze", timeout_s=60)
    report = load_one(database, EVENTS, tmp_path, DAY, busy_wait_s=30, publish_lock_timeout_s=1)
    assert report.error is None
    os.kill(frozen.pid, signal.SIGCONT)
    output, _ = frozen.communicate(timeout=120)
    # Before it began there was nothing to fence, and behind the publish its word was true.
    unfenced = {Place.IN_PLANNING, Place.AFTER_PUBLISH}
    assert frozen.returncode == (0 if place in unfenced else 1), output
    if place not in unfenced:
        assert "Fenced" in output
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("place", [place for place in _IN_SUPERVISOR if place is not Place.IN_PLANNING])
def test_a_supervisor_whose_work_never_answers_ends_by_a_deadline_or_by_the_first_interrupt(
    database: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]], place: Place
) -> None:
    rows = events(60)
    write_source(tmp_path, "events", DAY, rows)
    bounded = {Place.IN_RECONCILE, Place.BEFORE_PUBLISH}  # the others do not wait
    limits = {"statement_timeout_s": 1, "retry_budget_s": 1}
    process = start(
        database, EVENTS, tmp_path, [DAY], failpoints=f"{place}=sleep", **(limits if place in bounded else {})
    )
    if place not in bounded:
        state = "published" if place is Place.AFTER_PUBLISH else "loading"
        done = "select count(*) from rowledger.load join rowledger.chunk using (load_id) where load.state = $1 "
        done += "group by load_id, load.chunks having count(*) filter (where chunk.state = 'committed') = load.chunks"
        wait_until(lambda: fetch_value(database, done, state), "all chunks are committed", timeout_s=60)
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == (1 if place in bounded else run_process.INTERRUPTED)
    assert load_one(database, EVENTS, tmp_path, DAY, busy_wait_s=10).error is None
    assert_accounted(database, EVENTS, rows)


def test_a_death_at_every_place_is_in_the_ledger_with_its_chunk(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_days(tmp_path)
    set_failpoints(monkeypatch, _first_attempts("sigkill"))
    load(database, EVENTS, tmp_path, list(_DAYS.values()), workers=2, chunk_rows_max=20)
    kept = fetch(database, "select kind, exit_code, chunk_no, attempt from rowledger.incident")
    assert {tuple(row) for row in kept} == {(IncidentKind.SIGNAL, -signal.SIGKILL, 1, 1)}
    assert len(kept) == len(_DAYS)
