"""A COMMIT whose fate its sender cannot know: whichever way it went, each row is in one place, once."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline_tests.support.assertions import assert_accounted, edited_loads, source_rows, table_rows
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load, load_one, set_failpoints
from pipeline_tests.support.proxy import Fate, Proxy, Request, is_commit
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, events, write_source
from pipeline_tests.support.waiting import wait_until
from rowledger.errors import ChunkFailed, DatabaseUnavailable, DiscrepancyFound
from rowledger.failpoints import Place
from rowledger.ledger.reports import CheckName, PartitionReport

_COMMITS: dict[str, Callable[[Request], bool]] = {
    "begin": is_commit("rowledger control", "insert into rowledger.load"),
    "chunk": is_commit("rowledger worker", "update rowledger.chunk"),
    "publish": is_commit("rowledger control", "set state = 'replaced'"),
}
_LEDGER_ROW = {  # what the transaction in doubt wrote, and which transaction it was
    "begin": "select load_id, started_at from rowledger.load",
    "chunk": "select attempt, worker_pid, committed_at, xmin::text from rowledger.chunk where chunk_no = 0",
    "publish": "select state, ended_at, xmin::text from rowledger.load",
}
_WAITING = (
    "select count(*) from pg_stat_activity where datname = current_database() "
    "and application_name like 'rowledger%' and wait_event_type = 'Lock'"
)


def _ledger_row(database: str, commit: str) -> tuple[Any, ...]:
    (row,) = fetch(database, _LEDGER_ROW[commit])
    return tuple(row)


@pytest.mark.parametrize(
    ("fate", "arrives"),
    [
        (Fate.NEVER_ARRIVES, False),
        (Fate.REPLY_LOST, True),
        (Fate.IN_DOUBT, False),
        (Fate.IN_DOUBT, True),
    ],
)
@pytest.mark.parametrize("commit", _COMMITS)
def test_a_commit_without_a_reply_neither_loses_nor_doubles_a_row(
    database: str, tmp_path: Path, proxy: Proxy, commit: str, fate: Fate, *, arrives: bool
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    trap = proxy.trap(_COMMITS[commit], fate)
    with ThreadPoolExecutor(1) as thread:
        # Without a wait for others, a begin in doubt would be taken for theirs.
        run: Future[PartitionReport] = thread.submit(load_one, proxy.url, EVENTS, tmp_path, DAY, busy_wait_s=10)
        trap.wait()
        if fate is Fate.IN_DOUBT:
            # The next attempt must come to wait for the one in doubt: what it could read meanwhile is not yet true.
            wait_until(lambda: run.done() or fetch_value(database, _WAITING), "the next attempt waits")
            trap.deliver() if arrives else trap.drop()
        written = _ledger_row(database, commit) if trap.answered else None
        report = run.result()
    assert report.error is None
    assert [check.name for check in report.checks if check.passed] == list(CheckName)
    assert report.deaths == (), "a lost reply is no dead worker"
    assert written in {None, _ledger_row(database, commit)}, "what has arrived is not done again"
    assert fetch_value(database, "select count(*) from rowledger.load") == 1
    assert_accounted(database, EVENTS, rows)


_FROZEN = [Fate.FROZEN, pytest.param(Fate.REPLY_FROZEN, marks=pytest.mark.slow)]


@pytest.mark.parametrize("fate", _FROZEN)
def test_a_chunk_s_frozen_commit_ends_at_its_deadline(database: str, tmp_path: Path, proxy: Proxy, fate: Fate) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    trap = proxy.trap(_COMMITS["chunk"], fate)
    # The server ends the frozen transaction, idle for stall_timeout_s; the next attempt waits for its lock until then.
    patience = {"chunk_deadline_s": 3, "stall_timeout_s": 4, "lock_timeout_s": 1, "chunk_attempts_max": 20}
    started = time.monotonic()
    report = load_one(proxy.url, EVENTS, tmp_path, DAY, **patience)
    assert trap.sprung.is_set()
    assert report.error is None
    assert time.monotonic() - started < 60
    proxy.cut_all()  # before that the proxy holds the frozen connection, though both of its ends are done with it
    assert_accounted(database, EVENTS, rows)


@pytest.mark.slow
@pytest.mark.parametrize("fate", [Fate.FROZEN, Fate.REPLY_FROZEN])
def test_a_publish_s_frozen_commit_ends_at_its_deadline(
    database: str, tmp_path: Path, proxy: Proxy, fate: Fate
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    trap = proxy.trap(_COMMITS["publish"], fate)
    patience = {"statement_timeout_s": 3, "publish_lock_timeout_s": 0.5, "retry_budget_s": 10}
    started = time.monotonic()
    report = load_one(proxy.url, EVENTS, tmp_path, DAY, **patience)
    assert trap.sprung.is_set()
    assert time.monotonic() - started < 60
    if fate is Fate.REPLY_FROZEN:
        assert report.error is None, "the next attempt finds it published"
    else:
        assert report.error is None or isinstance(report.error, DatabaseUnavailable)
    proxy.cut_all()
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("old_rows", [0, 40])
def test_a_load_that_merely_says_it_is_published_is_not_believed(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old_rows: int
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, events(old_rows))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    write_source(tmp_path, "events", DAY, rows)

    def publish_by_hand() -> None:
        fetch(database, "update rowledger.load set state = 'replaced' where state = 'published'")
        fetch(database, "update rowledger.load set state = 'published' where state = 'loading'")

    async def reached(place: Place, **_facts: object) -> None:
        if place is Place.BEFORE_RECONCILE:
            with ThreadPoolExecutor(1) as thread:  # we are called inside an event loop, the statements want their own
                thread.submit(publish_by_hand).result()

    with monkeypatch.context() as patch:
        patch.setattr("rowledger.publish.finish.async_failpoint", reached)
        report = load_one(database, EVENTS, tmp_path, DAY)
    assert isinstance(report.error, DiscrepancyFound)
    assert not report.published
    assert "the ledger calls it published, but" in str(report.error)
    assert CheckName.ROW_BALANCE in {check.name for check in report.checks if not check.passed}
    assert table_rows(database, EVENTS) == source_rows(events(old_rows))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert table_rows(database, EVENTS) == source_rows(rows)
    assert edited_loads(database), "what was changed by hand stays known as changed"


def test_a_partition_that_follows_one_whose_chunk_failed_survives_a_lost_connection(
    database: str, tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_failpoints(monkeypatch, f"before_commit=raise@partition={DAY},chunk=1")
    rows = events(300, NEXT_DAY)
    write_source(tmp_path, "events", DAY, events(300))
    write_source(tmp_path, "events", NEXT_DAY, rows)
    trap = proxy.trap(_COMMITS["publish"], Fate.NEVER_ARRIVES)
    failed, published = load(proxy.url, EVENTS, tmp_path, [DAY, NEXT_DAY], partitions_in_flight=1)
    assert trap.sprung.is_set()
    assert isinstance(failed.error, ChunkFailed)
    assert published.error is None
    assert table_rows(database, EVENTS) == source_rows(rows)
