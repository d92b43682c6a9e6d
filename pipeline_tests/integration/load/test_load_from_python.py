"""Loads from Python, without Dagster: what `rowledger.load` returns, raises and logs."""

import logging
from pathlib import Path

import pytest

import rowledger
from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch_value
from pipeline_tests.support.partitions import partition_of
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, events, write_source
from rowledger import LoadFailed, Partition, PartitionReport, WriterSettings

_WRITER = WriterSettings(workers=1)


def _day(key: str) -> Partition:
    return partition_of(EVENTS, key)


def test_a_load_returns_a_report_for_each_partition_in_their_order(
    database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_source(tmp_path, "events", DAY, events(40))
    write_source(tmp_path, "events", NEXT_DAY, events(30, day=NEXT_DAY))
    with caplog.at_level(logging.INFO, logger="rowledger"):
        reports = rowledger.load(
            EVENTS, [_day(NEXT_DAY), _day(DAY)], url=database, landing_dir=tmp_path, writer=_WRITER
        )
    assert [(report.partition_key, report.written_rows) for report in reports] == [(NEXT_DAY, 30), (DAY, 40)]
    assert f"partition {DAY}: 40 rows written" in caplog.text
    assert fetch_value(database, "select count(*) from events") == 70


def test_a_partition_that_was_not_published_raises_with_all_reports(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, events(40))
    with pytest.raises(
        LoadFailed, match=f"table events: 1 of 2 partitions not published\npartition {NEXT_DAY}: .*no file"
    ) as failed:
        rowledger.load(EVENTS, [_day(DAY), _day(NEXT_DAY)], url=database, landing_dir=tmp_path, writer=_WRITER)
    published, missing = failed.value.reports
    assert isinstance(published, PartitionReport)
    assert isinstance(missing, PartitionReport)
    assert (published.partition_key, missing.partition_key) == (DAY, NEXT_DAY)
    assert not missing.published
    assert_accounted(database, EVENTS, events(40))


def test_a_caller_may_look_at_the_reports_instead(database: str, tmp_path: Path) -> None:
    (report,) = rowledger.load(
        EVENTS, [_day(DAY)], url=database, landing_dir=str(tmp_path), writer=_WRITER, check=False
    )
    assert "no file" in str(report.error)


def test_server_and_landing_folder_come_from_the_environment_by_default(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", database)
    monkeypatch.setenv("ROWLEDGER_HOME", str(tmp_path))
    write_source(tmp_path / "landing", "events", DAY, events(10))
    (report,) = rowledger.load(EVENTS, [_day(DAY)], writer=_WRITER)
    assert report.written_rows == 10
