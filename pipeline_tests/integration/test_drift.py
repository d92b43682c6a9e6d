"""Sources whose columns are not the contract's: each policy does what it says, and counts it."""

from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import SourceError
from pipeline.model.table import Drift, TableSpec
from pipeline.operations.verify import run_verify
from pipeline_tests.loading import assert_nothing_left_over, fetch, fetch_value, load, load_one
from pipeline_tests.tables_for_tests import DAY, DRIFTING, NEXT_DAY, PLANNED_DRIFT, Row, parcels

_BOTH = pytest.mark.parametrize("specs", [PLANNED_DRIFT, DRIFTING], ids=["planned", "as it comes"])


def _write(landing: Path, number: int, rows: list[Row], day: str = DAY) -> None:
    folder = landing / "trickle" / day
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows).write_parquet(folder / f"{number}.parquet")


def _with(rows: list[Row], **values: object) -> list[Row]:
    """The rows with a further column, which has a value in every tenth of them."""
    return [
        {**row, **{name: value if row["parcel_id"] % 10 == 3 else None for name, value in values.items()}}
        for row in rows
    ]


def _without(rows: list[Row], name: str) -> list[Row]:
    return [{column: value for column, value in row.items() if column != name} for row in rows]


def _count(database: str, spec: TableSpec, condition: str = "true") -> int:
    return int(fetch_value(database, f"select count(*) from public.{spec.name} where {condition}"))


@_BOTH
def test_freeze_fails_before_the_first_write_even_if_only_the_last_file_is_odd(
    database: str, tmp_path: Path, specs: dict[Drift, TableSpec]
) -> None:
    spec = specs[Drift.FREEZE]
    _write(tmp_path, 1, parcels(20))
    _write(tmp_path, 2, _with(parcels(40)[20:], weight=1.5))
    report = load_one(database, spec, tmp_path, DAY)
    assert isinstance(report.error, SourceError)
    assert "['weight']" in str(report.error)
    assert _count(database, spec) == 0
    if not spec.source.spools:
        assert fetch_value(database, "select count(*) from rowledger.load") == 0


@_BOTH
@pytest.mark.parametrize("drift", list(Drift))
def test_a_missing_column_is_refused_as_a_whole_or_row_by_row(
    database: str, tmp_path: Path, specs: dict[Drift, TableSpec], drift: Drift
) -> None:
    _write(tmp_path, 1, parcels(20))
    _write(tmp_path, 2, _without(parcels(40)[20:], "label"))
    report = load_one(database, specs[drift], tmp_path, DAY)
    if drift is Drift.FREEZE:
        assert "lacks columns of Parcel: ['label']" in str(report.error)
        return
    assert report.error is None
    assert (report.written_rows, report.dead_lettered_rows) == (20, 20)
    assert {row[0] for row in fetch(database, "select reason from rowledger.dead_letter")} == {
        "label: Field required [missing]"
    }


@_BOTH
def test_values_that_are_discarded_are_counted(database: str, tmp_path: Path, specs: dict[Drift, TableSpec]) -> None:
    spec = specs[Drift.DISCARD_VALUE]
    _write(tmp_path, 1, parcels(20))
    _write(tmp_path, 2, _with(parcels(40)[20:], weight=1.5, note="x"))
    report = load_one(database, spec, tmp_path, DAY)
    assert report.error is None
    assert (report.written_rows, report.dead_lettered_rows, report.discarded_values) == (40, 0, 4)
    assert fetch_value(database, "select sum(discarded_values) from rowledger.chunk") == 4
    assert_nothing_left_over(database)


@_BOTH
def test_rows_that_are_discarded_are_dead_letters(database: str, tmp_path: Path, specs: dict[Drift, TableSpec]) -> None:
    spec = specs[Drift.DISCARD_ROW]
    _write(tmp_path, 1, parcels(20))
    _write(tmp_path, 2, _with(parcels(40)[20:], weight=1.5))
    report = load_one(database, spec, tmp_path, DAY)
    assert report.error is None
    assert (report.written_rows, report.dead_lettered_rows) == (38, 2)
    letters = fetch(
        database, "select row_no, stage, column_name, payload::text from rowledger.dead_letter order by row_no"
    )
    assert [tuple(letter)[:3] for letter in letters] == [(23, "contract", "weight"), (33, "contract", "weight")]
    assert '"weight": 1.5' in letters[0][3]


@_BOTH
def test_evolving_gives_the_table_the_columns_that_the_source_brings(
    database: str, tmp_path: Path, specs: dict[Drift, TableSpec]
) -> None:
    spec = specs[Drift.EVOLVE]
    _write(tmp_path, 1, parcels(20))
    assert load_one(database, spec, tmp_path, DAY).error is None

    _write(tmp_path, 2, _with(parcels(40)[20:], weight=1.5, **{"Größe, cm": 7}))
    _write(tmp_path, 1, parcels(20, NEXT_DAY), NEXT_DAY)  # which lacks what its neighbour brings
    reports = load(database, spec, tmp_path, [DAY, NEXT_DAY])
    assert [report.error for report in reports] == [None, None]
    assert (_count(database, spec), _count(database, spec, 'weight = 1.5 and "Größe, cm" = 7')) == (60, 2)
    types = fetch(
        database,
        "select attname, format_type(atttypid, atttypmod), attnotnull from pg_attribute "
        "where attrelid = $1::regclass and attnum > 3 order by attnum",
        f"public.{spec.name}",
    )
    assert [tuple(row) for row in types] == [("weight", "double precision", False), ("Größe, cm", "bigint", False)]
    assert all(verification.passed for verification in run_verify(spec, url=database))
    fetch(database, f"update public.{spec.name} set weight = 2.5 where parcel_id = 23")
    assert not all(verification.passed for verification in run_verify(spec, url=database)), (
        "its values are compared too"
    )

    assert load_one(database, spec, tmp_path, NEXT_DAY).error is None, "a source without the new columns loads on"
    assert_nothing_left_over(database)
