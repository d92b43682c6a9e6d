"""Faults while a worker plans a partition: nothing is written yet, so another worker plans it, or the partition fails."""

import signal
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_accounted, assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load, load_one, set_failpoints
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, events, write_source
from rowledger.errors import SourceError, WorkerTerminated

_INCIDENTS = "select kind, exit_code, chunk_no, attempt, load_id, summary from rowledger.incident order by incident_id"
_DEADLY = {"sigkill": -signal.SIGKILL, "sigsegv": -signal.SIGSEGV, "exit0": 0, "exit1": 1}


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, object]]:
    for day in (DAY, NEXT_DAY):
        write_source(tmp_path, "events", day, events(50, day))
    return [*events(50, DAY), *events(50, NEXT_DAY)]


@pytest.mark.parametrize("action", _DEADLY)
def test_a_partition_whose_planner_dies_is_planned_by_another_worker(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, object]], action: str
) -> None:
    set_failpoints(monkeypatch, f"while_planning={action}@partition={DAY},attempt=1")
    assert [report.error for report in load(database, EVENTS, tmp_path, [DAY, NEXT_DAY])] == [None, None]
    (incident,) = fetch(database, _INCIDENTS)
    assert (incident["exit_code"], incident["chunk_no"], incident["attempt"]) == (_DEADLY[action], None, 1)
    assert incident["summary"].startswith("while the source was planned: ")
    assert_accounted(database, EVENTS, rows)


def test_a_partition_that_kills_each_of_its_planners_fails_and_no_other(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, object]]
) -> None:
    set_failpoints(monkeypatch, f"while_planning=sigsegv@partition={DAY}")
    failed, other = load(database, EVENTS, tmp_path, [DAY, NEXT_DAY], chunk_attempts_max=2)
    assert isinstance(failed.error, WorkerTerminated)
    assert f"partition {DAY}, plan: 2 workers died on it" in str(failed.error)
    assert other.error is None
    assert fetch_value(database, "select count(*) from rowledger.load") == 1
    assert_nothing_left_over(database)
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("action", ["raise", "raise_hostile"])
def test_a_source_that_raises_while_it_is_planned_fails_its_partition_and_no_other(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, object]], action: str
) -> None:
    set_failpoints(monkeypatch, f"while_planning={action}@partition={DAY}")
    failed, other = load(database, EVENTS, tmp_path, [DAY, NEXT_DAY])
    assert isinstance(failed.error, SourceError)
    assert other.error is None
    assert fetch(database, _INCIDENTS) == []
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)


def test_a_source_that_hangs_while_it_is_planned_fails_its_partition_in_time_and_no_other(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, object]]
) -> None:
    set_failpoints(monkeypatch, f"while_planning=sleep@partition={DAY}")
    failed, other = load(database, EVENTS, tmp_path, [DAY, NEXT_DAY], planning_timeout_s=1)
    assert isinstance(failed.error, SourceError)
    assert "could not be planned within 1 s (planning_timeout_s)" in str(failed.error)
    assert other.error is None
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize(("action", "kind", "limit_s"), [("sigstop", "stall", 1), ("eat_memory", "memory_limit", 60)])
def test_a_planner_that_freezes_or_eats_memory_is_killed(
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: list[dict[str, object]],
    action: str,
    kind: str,
    limit_s: float,
) -> None:
    set_failpoints(monkeypatch, f"while_planning={action}@partition={DAY}")
    limits = {"rss_soft_limit_bytes": 300 * 2**20, "rss_hard_limit_bytes": 400 * 2**20, "chunk_attempts_max": 1}
    failed, other = load(
        database, EVENTS, tmp_path, [DAY, NEXT_DAY], planning_timeout_s=limit_s, close_timeout_s=1, **limits
    )
    assert failed.error is not None
    assert other.error is None
    assert [incident["kind"] for incident in fetch(database, _INCIDENTS)] == [kind]
    assert_nothing_left_over(database)
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)
