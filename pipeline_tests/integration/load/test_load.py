"""Loads of small tables into a real server: first, again, resumed, and of many partitions at once."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline_tests.support.assertions import assert_accounted, table_rows
from pipeline_tests.support.database import fetch, fetch_value, staging_tables
from pipeline_tests.support.loading import Recorder, load, load_one, set_failpoints
from pipeline_tests.support.sour_tables import SOUR, make_sour_table
from pipeline_tests.support.tables import (
    DAY,
    EVENTS,
    NEXT_DAY,
    ORDERS,
    READINGS,
    THIRD_DAY,
    changed,
    events,
    orders,
    readings,
    write_source,
)
from pipeline_tests.support.tables_of_write_modes import ANY_KEY, PATHS
from rowledger.chunk.jobs import PlanJob
from rowledger.errors import SourceError, SpecError, UnknownPartition, UnsupportedServer
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.outcomes import Planned
from rowledger.ledger.reports import CheckName
from rowledger.ledger.status import AttemptState
from rowledger.ledger.table_status import read_status
from rowledger.spec.table import WriteMode
from rowledger.workers.pool import Pool

_CHUNKS = "select chunk_no, attempt, worker_pid, committed_at, state from rowledger.chunk where load_id = $1 order by 1"


def test_a_first_load_publishes_every_row_and_reports_its_balance(database: str, tmp_path: Path) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    observer = Recorder()
    report = load_one(database, EVENTS, tmp_path, DAY, observer=observer)
    assert report.error is None
    assert report.published
    assert (report.enqueued_rows, report.written_rows, report.dead_lettered_rows) == (250, 250, 0)
    assert (report.chunks, report.retries, report.resumed, report.incidents) == (3, 0, False, ())
    assert {check.name for check in report.checks} == set(CheckName)
    assert all(check.passed for check in report.checks)
    assert report.peak_rss_bytes > 2**20
    assert report.rows_per_second > 0
    assert observer.reports == [report]
    assert observer.progresses[-1].counts.missing_rows == 0
    assert observer.progresses[-1].partitions_done == 1
    assert_accounted(database, EVENTS, rows)
    assert fetch_value(database, "select run_id from rowledger.load") == "run-of-test"


def test_a_missing_target_is_made_from_the_contract(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, events(3))
    load_one(database, EVENTS, tmp_path, DAY)
    columns = fetch(
        database,
        "select attname, format_type(atttypid, atttypmod), attnotnull from pg_attribute "
        "where attrelid = 'events'::regclass and attnum > 0 order by attnum",
    )
    assert [tuple(column) for column in columns] == [
        ("at", "timestamp with time zone", True),
        ("event_id", "integer", True),
        ("name", "text", True),
        ("amount", "double precision", True),
        ("note", "text", False),
        ("code", "character varying(8)", True),
    ]
    assert fetch_value(database, "select relkind::text from pg_class where oid = 'events'::regclass") == "p"


def test_a_table_without_partitions_and_key_keeps_equal_rows(database: str, tmp_path: Path) -> None:
    rows = readings(333)
    write_source(tmp_path, "readings", "all", rows)
    assert load_one(database, READINGS, tmp_path, "all").error is None
    assert_accounted(database, READINGS, rows)


def test_a_second_run_replaces_the_partition_with_the_same_rows(database: str, tmp_path: Path) -> None:
    for spec, key, rows in ((EVENTS, DAY, events(120)), (READINGS, "all", readings(120))):
        write_source(tmp_path, spec.name, key, rows)
        first = load_one(database, spec, tmp_path, key)
        second = load_one(database, spec, tmp_path, key)
        assert first.load_id != second.load_id
        assert not second.resumed
        assert_accounted(database, spec, rows)
        states = fetch(
            database, "select state from rowledger.load where target = $1 order by load_id", str(spec.target)
        )
        assert [row[0] for row in states] == ["replaced", "published"]


def test_a_second_run_brings_the_source_s_changes(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, events(120))
    load_one(database, EVENTS, tmp_path, DAY)
    rows = changed(events(90), {3: {"name": "another"}})
    write_source(tmp_path, "events", DAY, rows)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)


def test_one_bad_partition_leaves_the_others_of_its_run_alone(database: str, tmp_path: Path) -> None:
    first, third = events(150, DAY), events(50, THIRD_DAY)
    write_source(tmp_path, "events", DAY, first)
    write_source(tmp_path, "events", NEXT_DAY, events(10, DAY))  # rows of another day: more than the budget bears
    write_source(tmp_path, "events", THIRD_DAY, third)
    reports = load(database, EVENTS, tmp_path, [DAY, NEXT_DAY, THIRD_DAY, "2024-03-04"])
    assert [report.partition_key for report in reports] == [DAY, NEXT_DAY, THIRD_DAY, "2024-03-04"]
    assert [report.published for report in reports] == [True, False, True, False]
    assert isinstance(reports[3].error, SourceError)
    assert "2024-03-04.parquet" in str(reports[3].error)
    assert_accounted(database, EVENTS, first + third)


def test_a_partition_without_rows_is_published_empty(database: str, tmp_path: Path) -> None:
    for spec, key, schema_rows in ((EVENTS, DAY, events(5)), (READINGS, "all", readings(5))):
        write_source(tmp_path, spec.name, key, schema_rows)
        load_one(database, spec, tmp_path, key)
        write_source(tmp_path, spec.name, key, [])
        report = load_one(database, spec, tmp_path, key)
        assert report.error is None
        assert (report.enqueued_rows, report.chunks) == (0, 0)
        assert_accounted(database, spec, [])


def test_a_rerun_writes_only_the_chunks_that_are_missing(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(500)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "mid_copy=raise@chunk=3")
    failed = load_one(database, EVENTS, tmp_path, DAY)
    assert failed.error is not None
    before = {row["chunk_no"]: row for row in fetch(database, _CHUNKS, failed.load_id) if row["state"] == "committed"}
    assert 0 < len(before) < 5
    assert fetch_value(database, "select count(*) from events") == 0

    set_failpoints(monkeypatch, "")
    rerun = load_one(database, EVENTS, tmp_path, DAY)
    assert rerun.error is None
    assert rerun.resumed
    assert rerun.load_id == failed.load_id
    after = {row["chunk_no"]: row for row in fetch(database, _CHUNKS, rerun.load_id)}
    assert {number: after[number] for number in before} == before
    assert {row["worker_pid"] for number, row in after.items() if number not in before}.isdisjoint(
        {row["worker_pid"] for row in before.values()}
    )
    assert_accounted(database, EVENTS, rows)


@pytest.mark.parametrize("change", ["source", "chunk_rows_max", "staging"])
def test_an_unfinished_load_of_another_plan_is_abandoned(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    write_source(tmp_path, "events", DAY, events(300))
    set_failpoints(monkeypatch, "after_claim=raise@chunk=2")
    failed = load_one(database, EVENTS, tmp_path, DAY)
    assert staging_tables(database, "loading") == [f"staging_{failed.load_id}"]

    set_failpoints(monkeypatch, "")
    rows = events(300, first=7) if change == "source" else events(300)
    write_source(tmp_path, "events", DAY, rows)
    if change == "staging":
        fetch(database, f"drop table rowledger.staging_{failed.load_id}")
    options = {"chunk_rows_max": 60} if change == "chunk_rows_max" else {}
    rerun = load_one(database, EVENTS, tmp_path, DAY, **options)
    assert rerun.error is None
    assert not rerun.resumed
    states = fetch(database, "select load_id, state from rowledger.load order by load_id")
    assert [tuple(row) for row in states] == [(failed.load_id, "abandoned"), (rerun.load_id, "published")]
    assert staging_tables(database, "abandoned") == []
    assert_accounted(database, EVENTS, rows)


def test_a_source_that_changes_in_mid_run_fails_the_load(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_source(tmp_path, "events", DAY, events(300))
    plan = Pool.plan

    async def plan_then_change(self: Pool, job: PlanJob) -> Planned:
        planned = await plan(self, job)
        write_source(tmp_path, "events", DAY, events(300, first=1))
        return planned

    monkeypatch.setattr(Pool, "plan", plan_then_change)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert isinstance(report.error, SourceError)
    assert str(path) in str(report.error)
    assert fetch_value(database, "select count(*) from events") == 0
    monkeypatch.undo()
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, events(300, first=1))


def test_partitions_that_do_not_fit_the_table_are_named_before_anything_is_made(database: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownPartition, match="has 1001 bytes; at most 1000 are allowed"):
        load(database, ANY_KEY, tmp_path, ["north", "k" * 1_001])
    with pytest.raises(SpecError, match="so they cannot be replaced"):
        load(database, PATHS.model_copy(update={"write_mode": WriteMode.REPLACE}), tmp_path, ["a"])
    assert fetch_value(database, "select to_regclass('any_key')") is None
    assert fetch_value(database, "select to_regclass('paths')") is None
    assert fetch_value(database, "select count(*) from rowledger.failed_attempt") == 0


def test_the_ledger_is_made_where_it_is_missing(empty_database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "readings", "all", readings(10))
    assert load_one(empty_database, READINGS, tmp_path, "all").error is None
    assert_accounted(empty_database, READINGS, readings(10))


def test_a_ledger_of_a_later_version_is_refused(database: str, tmp_path: Path) -> None:
    fetch(database, "insert into rowledger.schema_version (version, name) values (9999, 'of the future')")
    with pytest.raises(UnsupportedServer, match="newer than this Rowledger"):
        load(database, READINGS, tmp_path, ["all"])


def test_status_tells_the_latest_load_of_each_partition(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, changed(events(20), {3: {"event_id": -1}}))
    write_source(tmp_path, "events", NEXT_DAY, events(10, DAY))
    write_source(tmp_path, "orders", DAY, orders(4))
    load(database, EVENTS, tmp_path, [DAY, NEXT_DAY])
    load(database, EVENTS, tmp_path, [DAY], run_id="second")
    load(database, ORDERS, tmp_path, [DAY])
    found = {(status.table, status.partition_key): status for status in read_status(database)}
    assert set(found) == {("events", DAY), ("events", NEXT_DAY), ("orders", DAY)}
    day = found["events", DAY]
    seen = day.published
    assert seen is not None
    assert seen.counts == RowCounts(enqueued_rows=20, written_rows=19, dead_lettered_rows=1)
    assert (seen.run_id, seen.loads) == ("second", 1)
    assert day.is_well
    assert (day.latest.state, day.latest.load_id, day.latest.incidents) == (AttemptState.PUBLISHED, seen.load_id, 0)
    assert (day.latest.chunks, day.latest.chunks_committed) == (1, 1)
    refused = found["events", NEXT_DAY]
    assert refused.published is None
    assert refused.latest.state is AttemptState.REJECTED
    assert not refused.is_well
    assert [status.table for status in read_status(database, "orders")] == ["orders"]


def test_many_partitions_go_through_one_pool(database: str, tmp_path: Path) -> None:
    days = [f"2024-03-{day:02}" for day in range(1, 13)]
    for day in days:
        write_source(tmp_path, "events", day, events(40, day))
    reports = load(database, EVENTS, tmp_path, days, workers=2)
    assert [report.error for report in reports] == [None] * 12
    assert len({row[0] for row in fetch(database, "select worker_pid from rowledger.chunk")}) <= 2
    assert_accounted(database, EVENTS, [row for day in days for row in events(40, day)])


def test_no_row_value_and_no_password_is_logged(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = changed(
        events(120),
        {
            1: {"name": f"canary{SOUR}"},
            2: {"code": "canary too long"},
            3: {"event_id": -424242},
            9: events(9)[8] | {"name": "canary"},
        },
    )
    make_sour_table(database, "events")
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "before_commit=sigkill@chunk=1,attempt=1")
    observer = Recorder()
    report = load_one(database, EVENTS, tmp_path, DAY, observer=observer)
    assert report.published
    assert report.dead_lettered_rows == 4
    said = f"{observer.text} {report}"
    assert "canary" not in said
    assert "424242" not in said
    password = urlsplit(database).password
    assert password
    assert password not in said
    assert_accounted(database, EVENTS, rows)


def test_rows_of_the_table_equal_those_of_the_source_to_the_last_bit(database: str, tmp_path: Path) -> None:
    extremes = changed(
        events(8),
        {
            0: {"amount": 5e-324},
            1: {"amount": -0.0},
            2: {"amount": 1.7976931348623157e308},
            3: {"amount": float("inf")},
            4: {"name": ""},
            5: {"name": "tab\t quote' \" back\\slash \n 💧"},
            6: {"event_id": 2**31 - 1},
            7: {"amount": 0.1 + 0.2},
        },
    )
    write_source(tmp_path, "events", DAY, extremes)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert report.error is None
    assert sum(table_rows(database, EVENTS).values()) == 8
    assert_accounted(database, EVENTS, extremes)
