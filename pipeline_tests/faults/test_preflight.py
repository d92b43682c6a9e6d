"""What a run looks at before it begins, and what it does when there is less than it wants."""

import asyncio
import os
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load_one, set_failpoints
from pipeline_tests.support.tables import DAY, EVENTS, STRICT_READINGS, events, write_source
from rowledger.errors import DatabaseUnavailable, DeadLetterBudgetSpent, NotEnoughSpace, WriterClosed
from rowledger.ledger.outcomes import IncidentKind
from rowledger.ledger.table_status import read_incidents
from rowledger.postgres.outage import OutageGate
from rowledger.settings import WriterSettings, settings
from rowledger.workers.messages import Hello
from rowledger.workers.pool import Pool

_KEPT = "select kind, pid from rowledger.incident"
_UNUSED = (
    "select current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer "
    "- coalesce(current_setting('reserved_connections', true)::integer, 0) "
    "- (select count(*) from pg_stat_activity where backend_type = 'client backend')"
)


def test_fewer_workers_are_started_where_memory_carries_no_more(database: str, tmp_path: Path) -> None:
    rows = events(50)
    write_source(tmp_path, "events", DAY, rows)
    observer = Recorder()
    report = load_one(database, EVENTS, tmp_path, DAY, observer=observer, workers=3, worker_memory_bytes=2**50)
    assert report.error is None
    assert [(incident.kind, incident.pid) for incident in report.incidents] == [
        (IncidentKind.WORKERS_LIMITED, os.getpid())
    ]
    assert "pool of 1 worker open" in observer.text
    assert [tuple(row) for row in fetch(database, _KEPT)] == [("workers_limited", os.getpid())]
    (kept,) = read_incidents(database, "events")
    assert (kept.kind, kept.partition_key) == ("workers_limited", "-")
    assert kept.detected_at == fetch_value(database, "select detected_at from rowledger.incident")
    assert_accounted(database, EVENTS, rows)


def _free(database: str) -> int:
    # What is free for a run: the session that asks is gone by then.
    return int(fetch_value(database, _UNUSED)) + 1


def test_fewer_workers_are_started_where_the_server_has_few_connections_left(database: str, tmp_path: Path) -> None:
    rows = events(50)
    write_source(tmp_path, "events", DAY, rows)
    observer = Recorder()
    spare = _free(database) - 3  # one for leases, one to publish, one for a worker
    report = load_one(database, EVENTS, tmp_path, DAY, observer=observer, workers=4, connections_spare_min=spare)
    assert report.error is None
    assert [incident.kind for incident in report.incidents] == [IncidentKind.CONNECTIONS_LIMITED]
    assert "pool of 1 worker open" in observer.text
    assert_accounted(database, EVENTS, rows)


def test_a_server_without_a_connection_to_spare_is_waited_for_and_then_named(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, events(50))
    with pytest.raises(DatabaseUnavailable, match=r"0 connections left to this role, with 10000 to stay free"):
        load_one(database, EVENTS, tmp_path, DAY, connections_spare_min=10_000, retry_budget_s=0.3)
    assert fetch_value(database, "select count(*) from rowledger.load") == 0


def test_nothing_is_begun_on_a_full_local_disk(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_source(tmp_path, "events", DAY, events(50))
    monkeypatch.setenv("ROWLEDGER_DISK_FREE_MIN_BYTES", str(2**60))
    settings.cache_clear()
    with pytest.raises(NotEnoughSpace, match=r"bytes left.*make room"):
        load_one(database, EVENTS, tmp_path, DAY)
    assert fetch_value(database, "select count(*) from rowledger.load") == 0
    assert [tuple(row) for row in fetch(database, _KEPT)] == [("free_disk", os.getpid())]


def test_a_spent_dead_letter_budget_is_an_incident(database: str, tmp_path: Path) -> None:
    rows = [{"sensor": None, "value": 1.0}] * 5
    write_source(tmp_path, "strict_readings", "all", rows)
    report = load_one(database, STRICT_READINGS, tmp_path, "all")
    assert isinstance(report.error, DeadLetterBudgetSpent)
    assert [incident.kind for incident in report.incidents] == [IncidentKind.DEAD_LETTER_BUDGET]
    assert "budget" in report.incidents[0].summary


def test_a_source_that_never_answers_fails_its_partition_in_time_and_no_other(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(tmp_path, "events", DAY, events(50))
    set_failpoints(monkeypatch, "while_planning=sleep")
    report = load_one(database, EVENTS, tmp_path, DAY, planning_timeout_s=0.5)
    assert report.error is not None
    assert "could not be planned within 0.5 s (planning_timeout_s)" in str(report.error)
    assert fetch_value(database, "select count(*) from rowledger.load") == 0
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, events(50))


def test_a_pipe_in_place_of_a_file_fails_its_partition_without_being_waited_for(database: str, tmp_path: Path) -> None:
    pipe = tmp_path / "events" / f"{DAY}.parquet"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert "not a regular file" in str(report.error)
    assert fetch_value(database, "select count(*) from rowledger.load") == 0
    pipe.unlink()
    write_source(tmp_path, "events", DAY, events(50))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, events(50))


def test_a_pool_that_was_closed_says_so(database: str) -> None:
    limits = WriterSettings(workers=1)
    hello = Hello.of(EVENTS, url=database, settings=limits, holder="0" * 32)

    async def notice(*_: object) -> None: ...

    async def story() -> None:
        gate = OutageGate(database, limits, log=lambda *_: None, ended=lambda _: None)
        pool = Pool(hello, gate=gate, notice=notice, log=lambda *_: None)
        with pytest.raises(WriterClosed, match="not open"):
            await pool.commit(None)  # type: ignore[arg-type] # it does not come to look at it
        async with pool:
            pass
        with pytest.raises(WriterClosed, match="not open"):
            await pool.commit(None)  # type: ignore[arg-type] # as above

    asyncio.run(story())


def test_a_target_that_another_session_has_locked_is_waited_for_no_longer_than_the_budget(
    database: str, tmp_path: Path
) -> None:
    rows = events(50)
    write_source(tmp_path, "events", DAY, rows)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    with closing(psycopg2.connect(database, connect_timeout=20)) as holder, holder.cursor() as cursor:
        cursor.execute("lock table public.events in access exclusive mode")
        with pytest.raises(DatabaseUnavailable, match=r"lock not available \(SQLSTATE 55P03\).* see pg_locks"):
            load_one(database, EVENTS, tmp_path, DAY, lock_timeout_s=0.1, retry_budget_s=0.5)
    assert_accounted(database, EVENTS, rows)
