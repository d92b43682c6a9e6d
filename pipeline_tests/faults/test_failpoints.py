"""A fault at every place of a worker's way, of every kind: the run ends with the exact rows, and names each dead worker."""

import signal
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load, load_one, set_failpoints
from pipeline_tests.support.partitions import DAYS_OF_MARCH
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from rowledger.errors import ChunkFailed, ChunkTimedOut, PoolBroken, WorkerTerminated
from rowledger.failpoints import Place
from rowledger.ledger.outcomes import IncidentKind

_PLACES = [
    Place.BEFORE_BEGIN,
    Place.AFTER_CLAIM,
    Place.MID_COPY,
    Place.BEFORE_COMMIT,
    Place.AFTER_COMMIT,
    Place.WHILE_REPORTING,
]
_DAYS = dict(zip(_PLACES, DAYS_OF_MARCH, strict=False))  # each place has a day of its own
_INCIDENTS = (
    "select partition_key, incident.chunk_no, incident.attempt, kind, exit_code, pid "
    "from rowledger.incident join rowledger.load using (load_id) order by partition_key, incident_id"
)


def _write_days(landing: Path) -> list[dict[str, object]]:
    rows = {day: events(250, day) for day in _DAYS.values()}
    for day, of_day in rows.items():
        write_source(landing, "events", day, of_day)
    return [row for of_day in rows.values() for row in of_day]


def _rules(action: str) -> str:
    return ";".join(f"{place}={action}@partition={day},chunk=1,attempt=1" for place, day in _DAYS.items())


@pytest.mark.parametrize(
    ("action", "kind", "exit_code"),
    [
        ("sigkill", IncidentKind.SIGNAL, -signal.SIGKILL),
        ("sigsegv", IncidentKind.SIGNAL, -signal.SIGSEGV),
        ("exit0", IncidentKind.EXIT_WITHOUT_REPORT, 0),
        ("exit1", IncidentKind.CRASH, 1),
    ],
)
def test_a_worker_s_death_costs_one_attempt_wherever_it_dies(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, kind: IncidentKind, exit_code: int
) -> None:
    rows = _write_days(tmp_path)
    set_failpoints(monkeypatch, _rules(action))
    observer = Recorder()
    reports = load(database, EVENTS, tmp_path, list(_DAYS.values()), observer=observer, workers=2)
    assert [report.error for report in reports] == [None] * len(_DAYS)
    assert_accounted(database, EVENTS, rows)
    kept = [tuple(row)[:5] for row in fetch(database, _INCIDENTS)]
    assert kept == [(day, 1, 1, kind, exit_code) for day in _DAYS.values()]
    pids = [row["pid"] for row in fetch(database, _INCIDENTS)]
    assert len(set(pids)) == len(pids)
    assert pids == [incident.pid for report in reports for incident in report.incidents]
    for pid in pids:
        assert f"worker {pid} died" in observer.text
    assert "failpoints are on" in observer.text
    late = {Place.AFTER_COMMIT, Place.WHILE_REPORTING}
    by_day = {report.partition_key: report.load_id for report in reports}
    for place, day in _DAYS.items():
        wrote = fetch_value(
            database, "select attempt from rowledger.chunk where load_id = $1 and chunk_no = 1", by_day[day]
        )
        assert wrote == (1 if place in late else 2), place


def test_a_frozen_worker_is_noticed_by_its_lack_of_progress(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(200)
    write_source(tmp_path, "events", DAY, rows)
    rules = ("mid_copy=sigstop@chunk=0", "while_reporting=sigstop@chunk=1")
    set_failpoints(monkeypatch, ";".join(f"{rule},attempt=1" for rule in rules))
    report = load_one(database, EVENTS, tmp_path, DAY, workers=2, stall_timeout_s=4, chunk_attempts_max=20)
    assert report.error is None
    # A worker that is slow to start on a busy machine may be taken for a frozen one, so there may be more.
    assert {0, 1} <= {incident.chunk_no for incident in report.incidents}
    assert {(incident.kind, incident.exit_code) for incident in report.incidents} == {
        (IncidentKind.STALL, -signal.SIGKILL)
    }
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("action", ["raise", "raise_hostile"])
def test_an_exception_fails_its_own_partition_and_a_rerun_converges(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    rows = _write_days(tmp_path)
    set_failpoints(monkeypatch, _rules(action))
    observer = Recorder()
    reports = load(database, EVENTS, tmp_path, list(_DAYS.values()), observer=observer)
    for place, report in zip(_DAYS, reports, strict=True):
        if place is Place.WHILE_REPORTING:  # outside the attempt: the process ends, and the chunk had committed
            assert report.error is None
            assert [incident.kind for incident in report.incidents] == [IncidentKind.CRASH]
            assert "test_failpoints" not in report.incidents[0].stderr_tail
            assert "Traceback" in report.incidents[0].stderr_tail
        else:
            assert isinstance(report.error, ChunkFailed), place
            assert "chunk 1" in str(report.error)
            assert report.incidents == ()
    assert "chunk/transaction.py" in observer.text, "the worker's call stack is in the run's log"
    assert "x" * 100 not in "\n".join(line for line in observer.lines if "printed" not in line)
    states = fetch(database, "select count(*) from rowledger.load where state = 'loading'")
    assert states[0][0] == len(_DAYS) - 1

    set_failpoints(monkeypatch, "")
    reruns = load(database, EVENTS, tmp_path, list(_DAYS.values()))
    assert [report.error for report in reruns] == [None] * len(_DAYS)
    assert [report.resumed for report in reruns] == [place is not Place.WHILE_REPORTING for place in _DAYS]
    assert_accounted(database, EVENTS, rows)


def test_a_worker_that_dies_while_it_beats_is_noticed(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "in_heartbeat=exit0")
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_attempts_max=2)
    assert isinstance(report.error, ChunkFailed)
    assert {incident.kind for incident in report.incidents} <= {
        IncidentKind.START_FAILED,
        IncidentKind.EXIT_WITHOUT_REPORT,
    }
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)


def test_a_chunk_that_kills_every_worker_fails_its_load_within_its_attempts(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "mid_copy=sigkill@chunk=1")
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_attempts_max=3, crash_rows_max=0)
    assert isinstance(report.error, WorkerTerminated)
    assert (report.error.signal, report.error.chunk_no) == (signal.SIGKILL, 1)
    assert report.error.pid == report.incidents[-1].pid
    assert "chunk 1: 3 workers died on it" in str(report.error)
    assert "SIGKILL" in str(report.error)
    kept = fetch(database, "select chunk_no, attempt, kind, exit_code from rowledger.incident order by incident_id")
    assert [tuple(row) for row in kept] == [(1, attempt, "signal", -9) for attempt in (1, 2, 3)]
    assert fetch_value(database, "select count(*) from events") == 0
    set_failpoints(monkeypatch, "")
    rerun = load_one(database, EVENTS, tmp_path, DAY)
    assert rerun.error is None
    assert rerun.resumed
    assert_accounted(database, EVENTS, rows)


def test_a_run_whose_workers_keep_dying_ends_when_the_respawn_budget_is_spent(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "after_claim=exit1")
    report = load_one(database, EVENTS, tmp_path, DAY, respawns_max=2, chunk_attempts_max=100)
    assert isinstance(report.error, PoolBroken)
    assert "respawn budget is 2" in str(report.error)
    assert len(report.deaths) == 3
    assert report.incidents[-1].kind is IncidentKind.RESPAWN_BUDGET
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)


def test_a_chunk_over_its_deadline_is_tried_again_until_the_budget_is_spent(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "after_claim=sleep@attempt=1,chunk=0")
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_deadline_s=4, close_timeout_s=0.5, stall_timeout_s=60)
    assert report.error is None
    assert report.incidents[0].chunk_no == 0
    assert {incident.kind for incident in report.incidents} == {IncidentKind.DEADLINE}
    assert_accounted(database, EVENTS, rows)


def test_a_worker_over_the_soft_memory_limit_is_replaced_after_its_chunk(database: str, tmp_path: Path) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    observer = Recorder()
    report = load_one(database, EVENTS, tmp_path, DAY, observer=observer, rss_soft_limit_bytes=64 * 2**20)
    assert report.error is None
    assert {incident.kind for incident in report.incidents} == {IncidentKind.MEMORY_RECYCLE}
    assert report.deaths == ()
    assert "of resident memory, over the soft limit of 64.0 MiB (rss_soft_limit_bytes)" in observer.text
    assert len({row[0] for row in fetch(database, "select worker_pid from rowledger.chunk")}) == 3
    assert_accounted(database, EVENTS, rows)


def test_a_worker_over_the_hard_memory_limit_is_killed(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(tmp_path, "events", DAY, events(250))
    set_failpoints(monkeypatch, "after_claim=sleep@chunk=1")
    limits = {"rss_soft_limit_bytes": 64 * 2**20, "rss_hard_limit_bytes": 64 * 2**20, "chunk_attempts_max": 1}
    report = load_one(database, EVENTS, tmp_path, DAY, **limits)
    assert isinstance(report.error, ChunkFailed)
    assert {incident.kind for incident in report.deaths} == {IncidentKind.MEMORY_LIMIT}
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, events(250))


def test_a_chunk_that_is_always_too_slow_fails_as_timed_out_and_not_as_crashed(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "after_claim=sigstop@chunk=1")
    limits = {"stall_timeout_s": 3, "chunk_attempts_max": 1, "crash_rows_max": 0}
    report = load_one(database, EVENTS, tmp_path, DAY, **limits)
    assert isinstance(report.error, ChunkTimedOut)
    assert report.error.cause == IncidentKind.STALL
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)
