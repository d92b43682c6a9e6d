"""Whole loads of rows that a Python function gives."""

import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load_one
from pipeline_tests.support.tables_of_other_sources import GENERATED, give
from rowledger.errors import SourceError
from rowledger.spec.partition import Partition


def rows_of_every_kind(_partition: Partition) -> Iterator[object]:
    yield {"sensor": 1, "value": 0.5}
    yield {"sensor": "2", "value": Decimal("1.25")}
    yield {"sensor": 3, "value": None}
    yield {"sensor": 1.9, "value": 1}
    yield {"sensor": True, "value": 1}
    yield {"value": 1.0}
    yield "no row"
    yield {"sensor": 4, "value": object()}
    yield pl.DataFrame({"sensor": range(100, 350), "value": [0.25] * 250})


def rows_that_fail_in_the_middle(_partition: Partition) -> Iterator[object]:
    for first in range(0, 500, 100):
        yield pl.DataFrame({"sensor": range(first, first + 100), "value": [1.5] * 100})
        if first == 300 and "FUNCTION_IS_REPAIRED" not in os.environ:
            raise ValueError("a secret of row 399")


def no_rows(_partition: Partition) -> Iterator[object]:
    return iter(())


def test_good_rows_of_every_kind_are_loaded_and_the_others_are_dead_letters_with_true_reasons(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, rows_of_every_kind)

    report = load_one(database, GENERATED, tmp_path, "all")

    assert report.error is None
    assert (report.enqueued_rows, report.written_rows, report.dead_lettered_rows) == (258, 253, 5)
    loaded = fetch(database, "select sensor, value from generated where sensor < 100 order by sensor")
    assert [tuple(row) for row in loaded] == [(1, 0.5), (2, 1.25), (3, None)]
    assert fetch_value(database, "select count(*) from generated where value = 0.25") == 250
    letters = fetch(
        database,
        "select row_no, stage, reason, payload::text, payload_of from rowledger.dead_letter order by row_no",
    )
    assert [(row["row_no"], row["stage"], row["payload_of"]) for row in letters] == [
        (3, "contract", "source"),
        (4, "contract", "source"),
        (5, "contract", "source"),
        (6, "source", "line"),
        (7, "source", "line"),
    ]
    assert [json.loads(row["payload"]) for row in letters] == [
        {"sensor": 1.9, "value": 1},
        {"sensor": True, "value": 1},
        {"value": 1.0},
        {"line": '"no row"'},
        {"line": '{"sensor": 4, "value": "<object>"}'},
    ]
    assert [row["reason"] for row in letters[3:]] == [
        "is not a row: an item of type str",
        "column 'value' holds a value of type object, which no column can hold",
    ]
    assert_nothing_left_over(database)


def test_a_function_that_fails_in_the_middle_publishes_nothing_and_its_rerun_goes_on_behind_it(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, rows_that_fail_in_the_middle)
    observer = Recorder()

    report = load_one(database, GENERATED, tmp_path, "all", observer=observer)

    assert isinstance(report.error, SourceError)
    assert str(report.error).startswith(
        "pipeline_tests.support.tables_of_other_sources.readings_as_given raised builtins.ValueError behind 400 rows"
    )
    assert "if first == 300" not in observer.text
    assert "raise ValueError" in observer.text
    assert "row 399" not in str(report.error)
    assert fetch_value(database, "select count(*) from generated") == 0

    monkeypatch.setenv("FUNCTION_IS_REPAIRED", "yes")
    rerun = load_one(database, GENERATED, tmp_path, "all")

    assert rerun.error is None
    assert rerun.enqueued_rows == 500
    assert fetch_value(database, "select count(distinct sensor) from generated") == 500
    assert_nothing_left_over(database)


def test_a_function_that_gives_nothing_is_an_empty_load(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, no_rows)

    report = load_one(database, GENERATED, tmp_path, "all")

    assert report.error is None
    assert report.enqueued_rows == 0
    assert_nothing_left_over(database)
