"""Loads of small tables into a real server, from the first row to the published partition."""

from pathlib import Path

from pipeline_tests.loading import assert_accounted, load_one
from pipeline_tests.tables_for_tests import DAY, EVENTS, events, write_source


def test_a_first_load_publishes_every_row(database: str, tmp_path: Path) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    report = load_one(database, EVENTS, tmp_path, DAY)
    assert report.error is None
    assert_accounted(database, EVENTS, rows)
