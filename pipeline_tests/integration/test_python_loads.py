"""Whole loads of rows that a Python function gives."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import SourceError
from pipeline.model.partition import Partition
from pipeline_tests import python_tables_for_tests
from pipeline_tests.loading import Recorder, assert_nothing_left_over, fetch_value, load_one
from pipeline_tests.python_tables_for_tests import GENERATED


@pytest.fixture(autouse=True)
def _nothing_given_to_other_tests() -> Iterator[None]:
    yield
    python_tables_for_tests.given.clear()


def test_a_function_that_fails_in_the_middle_publishes_nothing_and_its_rerun_goes_on_behind_it(
    database: str, tmp_path: Path
) -> None:
    fails = [True]

    def rows(_partition: Partition) -> Iterator[object]:
        for first in range(0, 500, 100):
            yield pl.DataFrame({"sensor": range(first, first + 100), "value": [1.5] * 100})
            if first == 300 and fails:
                raise ValueError("a secret of row 399")

    python_tables_for_tests.given.append(rows)
    observer = Recorder()

    report = load_one(database, GENERATED, tmp_path, "all", observer=observer)

    assert isinstance(report.error, SourceError)
    assert str(report.error).startswith(
        "pipeline_tests.python_tables_for_tests.readings_as_given raised builtins.ValueError behind 400 rows"
    )
    assert "if first == 300" not in observer.text
    assert "raise ValueError" in observer.text
    assert "row 399" not in str(report.error)
    assert fetch_value(database, "select count(*) from generated") == 0

    fails.clear()
    rerun = load_one(database, GENERATED, tmp_path, "all")

    assert rerun.error is None
    assert rerun.enqueued_rows == 500
    assert fetch_value(database, "select count(distinct sensor) from generated") == 500
    assert_nothing_left_over(database)


def test_a_function_that_gives_nothing_is_an_empty_load(database: str, tmp_path: Path) -> None:
    python_tables_for_tests.given.append(lambda _: iter(()))

    report = load_one(database, GENERATED, tmp_path, "all")

    assert report.error is None
    assert report.enqueued_rows == 0
    assert_nothing_left_over(database)
