"""Kills and lost COMMITs while rows are appended or upserted: they are in the table once, and what they add up to is known."""

import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_nothing_left_over, source_rows, table_rows
from pipeline_tests.support.database import fetch, sessions, staging_tables
from pipeline_tests.support.loading import Recorder, load_one
from pipeline_tests.support.proxy import Fate, Proxy, is_commit
from pipeline_tests.support.tables_of_write_modes import (
    APPENDED_KEYLESS,
    DAY,
    KEYLESS_SPOOLED,
    UPSERTED,
    sales,
    write_sales,
)
from pipeline_tests.support.waiting import wait_until
from rowledger.ledger.reports import CheckName
from rowledger.publish.verify import run_verify
from rowledger.spec.table import TableSpec

FIRST, SECOND = sales(range(30)), sales(range(20, 50), amount=5.0)
BOTH = {APPENDED_KEYLESS.name: FIRST + SECOND, KEYLESS_SPOOLED.name: FIRST + SECOND, UPSERTED.name: FIRST[:20] + SECOND}


def _assert_once(database: str, spec: TableSpec) -> None:
    assert table_rows(database, spec) == source_rows(BOTH[spec.name])
    assert [result.passed for result in run_verify(spec, url=database)] == [True]
    assert_nothing_left_over(database)


@pytest.mark.parametrize("place", ["before_publish", "in_publish", "after_publish"])
@pytest.mark.parametrize("spec", [APPENDED_KEYLESS, KEYLESS_SPOOLED, UPSERTED], ids=lambda spec: spec.name)
def test_a_run_killed_while_it_publishes_has_added_its_rows_or_not_and_the_next_adds_them_once(
    database: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]], spec: TableSpec, place: str
) -> None:
    write_sales(tmp_path, DAY, FIRST)
    assert load_one(database, spec, tmp_path, DAY).error is None
    write_sales(tmp_path, DAY, SECOND)
    process = start(database, spec, tmp_path, [DAY], failpoints=f"{place}=sigkill")
    assert process.wait(timeout=60) == -signal.SIGKILL
    wait_until(lambda: not sessions(database), "the killed run's sessions are gone", timeout_s=10)
    expected = BOTH[spec.name] if place == "after_publish" else FIRST
    assert table_rows(database, spec) == source_rows(expected)
    for _ in range(2):
        assert load_one(database, spec, tmp_path, DAY).error is None
        _assert_once(database, spec)


@pytest.mark.parametrize(
    ("fate", "arrives"),
    [(Fate.NEVER_ARRIVES, False), (Fate.REPLY_LOST, True), (Fate.IN_DOUBT, False), (Fate.IN_DOUBT, True)],
)
@pytest.mark.parametrize("spec", [APPENDED_KEYLESS, UPSERTED], ids=lambda spec: spec.name)
def test_rows_whose_commit_got_no_reply_are_added_once(
    database: str, tmp_path: Path, proxy: Proxy, spec: TableSpec, fate: Fate, *, arrives: bool
) -> None:
    write_sales(tmp_path, DAY, FIRST)
    assert load_one(database, spec, tmp_path, DAY).error is None
    write_sales(tmp_path, DAY, SECOND)
    trap = proxy.trap(is_commit("rowledger control", "set write_mode ="), fate)
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(load_one, proxy.url, spec, tmp_path, DAY)
        trap.wait()
        if fate is Fate.IN_DOUBT:
            waiting = (
                "select 1 from pg_stat_activity where application_name like 'rowledger%' and wait_event_type = 'Lock' "
                "and datname = current_database()"
            )
            wait_until(lambda: run.done() or fetch(database, waiting), "the next attempt waits")
            trap.deliver() if arrives else trap.drop()
        report = run.result()
    assert report.error is None, report.error
    assert [check.name for check in report.checks if check.passed] == list(CheckName)
    _assert_once(database, spec)


def test_a_source_that_is_loaded_as_it_comes_finds_out_at_its_end_that_it_was_appended(
    database: str, tmp_path: Path
) -> None:
    write_sales(tmp_path, DAY, [*FIRST, {**FIRST[0], "region": None}])
    for _ in range(2):
        observer = Recorder()
        report = load_one(database, KEYLESS_SPOOLED, tmp_path, DAY, observer=observer)
        assert report.error is None, report.error
    assert "already appended by load 1; nothing was added" in observer.text
    assert [check.name for check in report.checks if check.passed] == list(CheckName)
    assert table_rows(database, KEYLESS_SPOOLED) == source_rows(FIRST)
    assert [row[0] for row in fetch(database, "select state from rowledger.load order by 1")] == [
        "published",
        "repeated",
    ]
    assert [row[0] for row in fetch(database, "select load_id from rowledger.dead_letter")] == [1]
    assert [result.passed for result in run_verify(KEYLESS_SPOOLED, url=database)] == [True]
    assert_nothing_left_over(database)


@pytest.mark.parametrize("place", ["before_publish=sigkill", "before_publish=raise"])
def test_a_load_that_an_ended_run_has_left_is_ended_where_the_rows_are_there_already(
    database: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]], place: str
) -> None:
    write_sales(tmp_path, DAY, FIRST)
    assert load_one(database, APPENDED_KEYLESS, tmp_path, DAY).error is None
    write_sales(tmp_path, DAY, SECOND)
    process = start(database, APPENDED_KEYLESS, tmp_path, [DAY], failpoints=place)
    assert process.wait(timeout=60)
    wait_until(lambda: not sessions(database), "the ended run's sessions are gone", timeout_s=10)
    assert staging_tables(database, "loading")
    write_sales(tmp_path, DAY, FIRST)
    observer = Recorder()
    assert load_one(database, APPENDED_KEYLESS, tmp_path, DAY, observer=observer).error is None
    assert "already appended by load 1; nothing was added" in observer.text
    states = [tuple(row) for row in fetch(database, "select state, verdict from rowledger.load order by load_id")]
    assert states[1:] == [("abandoned", "the rows that the source has now were appended by load 1")]
    assert not staging_tables(database, "abandoned")
    assert_nothing_left_over(database)
    write_sales(tmp_path, DAY, SECOND)
    assert load_one(database, APPENDED_KEYLESS, tmp_path, DAY).error is None
    _assert_once(database, APPENDED_KEYLESS)


def test_a_load_that_another_run_is_at_work_on_goes_on_where_the_rows_are_there_already(
    database: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_sales(first, DAY, FIRST)
    write_sales(second, DAY, SECOND)
    assert load_one(database, APPENDED_KEYLESS, first, DAY).error is None
    process = start(database, APPENDED_KEYLESS, second, [DAY], failpoints="before_publish=sleep")
    wait_until(
        lambda: fetch(database, "select 1 from rowledger.chunk where load_id > 1 and state = 'committed'"),
        "the other run has committed its chunk",
    )
    assert load_one(database, APPENDED_KEYLESS, first, DAY).error is None
    assert fetch(database, "select state from rowledger.load join rowledger.lease using (load_id)") == [("loading",)]
    process.kill()
    process.wait(60)
    report = load_one(database, APPENDED_KEYLESS, second, DAY, busy_wait_s=20)
    assert (report.error, report.resumed) == (None, True)
    _assert_once(database, APPENDED_KEYLESS)
