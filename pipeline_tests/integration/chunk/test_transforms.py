"""Transforms in whole loads: what they filter, add and refuse is counted, and every row is found again."""

from pathlib import Path

import pytest

from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load_one
from pipeline_tests.support.tables import Row, write_source
from pipeline_tests.support.tables_with_transforms import HALVED_READINGS, MULTIPLIED_READINGS, REPEATED_READINGS
from rowledger.errors import ChunkFailed, DeadLetterBudgetSpent

_LETTERS = (
    "select row_no, part, stage, reason, payload::text as payload, payload_of, traceback "
    "from rowledger.dead_letter order by row_no, part"
)


def _readings(rows: int, **values: float | None) -> list[Row]:
    return [{"sensor": n, "value": values.get(f"_{n}", float(n))} for n in range(rows)]


def test_filtered_rows_are_counted_and_rows_for_which_it_raises_are_dead_letters(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "readings", "all", _readings(300, _7=None, _250=None))
    observer = Recorder()
    report = load_one(database, HALVED_READINGS, tmp_path, "all", observer=observer)
    assert report.error is None
    assert (report.enqueued_rows, report.written_rows, report.dead_lettered_rows, report.filtered_rows) == (
        300,
        149,
        2,
        149,
    )
    assert "300 enqueued = 149 written + 2 dead-lettered + 149 filtered" in report.checks[0].summary
    assert fetch_value(database, "select sum(value) from halved_readings") == (sum(range(0, 300, 2)) - 250) / 2
    letters = fetch(database, _LETTERS)
    assert [(row["row_no"], row["stage"], row["payload_of"]) for row in letters] == [
        (7, "transform", "source"),
        (250, "transform", "source"),
    ]
    assert letters[0]["payload"] == '{"sensor": 7, "value": null}'
    assert letters[0]["reason"].startswith(
        "the transform raised ValueError in keep_halves, tables_with_transforms.py line "
    )
    assert "ValueError: no value in [(7, None" in letters[0]["traceback"]
    assert "no value in" not in observer.text, "what an exception says may quote a row, and is not logged"


def test_rows_with_the_same_key_are_found_behind_a_transform(database: str, tmp_path: Path) -> None:
    rows = [*_readings(150), {"sensor": 10, "value": 99.0}, {"sensor": 11, "value": 99.0}]
    write_source(tmp_path, "readings", "all", rows)
    report = load_one(database, HALVED_READINGS, tmp_path, "all")
    assert report.error is None
    assert (report.written_rows, report.dead_lettered_rows, report.filtered_rows) == (75, 1, 76)
    (letter,) = fetch(database, _LETTERS)
    assert (letter["row_no"], letter["stage"], letter["payload"]) == (150, "key", '{"sensor": 10, "value": 99.0}')
    assert fetch_value(database, "select value from halved_readings where sensor = 10") == 5.0


def test_added_rows_are_counted_where_they_are_declared(database: str, tmp_path: Path) -> None:
    rows = [{"sensor": n, "value": None} for n in (0, 3, 1, 0, 2)]
    write_source(tmp_path, "readings", "all", rows)
    report = load_one(database, REPEATED_READINGS, tmp_path, "all")
    assert report.error is None
    assert (report.enqueued_rows, report.written_rows, report.filtered_rows, report.added_rows) == (5, 6, 2, 3)
    assert "5 enqueued + 3 added = 6 written + 0 dead-lettered + 2 filtered" in report.checks[0].summary
    found = [tuple(row) for row in fetch(database, "select sensor, value from repeated_readings order by 1, 2")]
    assert found == [(1, 0.0), (2, 0.0), (2, 1.0), (3, 0.0), (3, 1.0), (3, 2.0)]


def test_a_row_that_a_transform_added_is_refused_by_itself(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "readings", "all", [{"sensor": 3, "value": None}, {"sensor": 1, "value": None}])
    fetch(
        database,
        "create table public.repeated_readings "
        "(sensor integer not null, value double precision check (value is distinct from 1))",
    )
    report = load_one(database, REPEATED_READINGS, tmp_path, "all")
    assert report.error is None
    assert (report.enqueued_rows, report.written_rows, report.dead_lettered_rows, report.added_rows) == (2, 3, 1, 2)
    (letter,) = fetch(database, _LETTERS)
    assert (letter["row_no"], letter["part"], letter["stage"], letter["payload_of"]) == (0, 1, "copy", "transformed")
    assert letter["payload"] == '{"sensor": 3, "value": 1.0}'


def test_adding_rows_without_saying_so_is_an_error(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "readings", "all", [{"sensor": 3, "value": None}])
    report = load_one(database, MULTIPLIED_READINGS, tmp_path, "all")
    assert isinstance(report.error, ChunkFailed)
    assert "made 3 rows of 1; if that is meant, declare it with adds_rows=True" in str(report.error)
    assert fetch_value(database, "select count(*) from multiplied_readings") == 0


def test_a_transform_that_fails_for_every_row_spends_the_budget_and_what_was_learned_is_kept(
    database: str, tmp_path: Path
) -> None:
    write_source(tmp_path, "readings", "all", [{"sensor": n, "value": None} for n in range(2_000)])
    report = load_one(database, HALVED_READINGS, tmp_path, "all", chunk_rows_max=2_000)
    assert isinstance(report.error, DeadLetterBudgetSpent)
    assert fetch_value(database, "select count(*) from rowledger.dead_letter where stage = 'transform'") == 201


@pytest.mark.parametrize("rows", [[], [{"sensor": 1, "value": 2.0}]], ids=["no rows", "all filtered"])
def test_a_load_may_end_without_rows(database: str, tmp_path: Path, rows: list[Row]) -> None:
    write_source(tmp_path, "readings", "all", rows)
    report = load_one(database, HALVED_READINGS, tmp_path, "all")
    assert report.error is None
    assert (report.written_rows, report.filtered_rows) == (0, len(rows))
