"""Sources whose columns are not the contract's: each policy does what it says, and counts it."""

import json
from pathlib import Path

import polars as pl
import pytest

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load, load_one
from pipeline_tests.support.tables import DAY, NEXT_DAY, Row, parcels
from pipeline_tests.support.tables_of_spooled_files import DRIFTING, PLANNED_DRIFT
from rowledger.errors import SourceError
from rowledger.publish.verify import run_verify
from rowledger.sources.ndjson import NdjsonFiles
from rowledger.spec.table import Drift, TableSpec

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


def _column_types(database: str, spec: TableSpec) -> dict[str, str]:
    """The columns that the table has beside those of the contract, with their types."""
    found = fetch(
        database,
        "select attname, format_type(atttypid, atttypmod) from pg_attribute "
        "where attrelid = $1::regclass and attnum > 3 order by attnum",
        f"public.{spec.name}",
    )
    return {row[0]: row[1] for row in found}


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
    if not spec.source.is_streamed:
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
        "label: Field required [missing]: give the field a default if the source may lack the column"
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


@_BOTH
def test_a_column_without_values_is_added_when_its_type_is_known(
    database: str, tmp_path: Path, specs: dict[Drift, TableSpec]
) -> None:
    spec = specs[Drift.EVOLVE]
    rows = [{**row, "weight": None, "parts": [None]} for row in parcels(20)]
    _write(tmp_path, 1, rows)
    report = load_one(database, spec, tmp_path, DAY)
    assert report.error is None
    assert (report.written_rows, report.dead_lettered_rows) == (20, 0)
    assert _column_types(database, spec) == {"parts": "jsonb"}, "of weight nothing is known yet"

    next_day = [{**row, "weight": 7, "parts": [1]} for row in parcels(20, NEXT_DAY)]
    _write(tmp_path, 1, next_day, NEXT_DAY)
    assert load_one(database, spec, tmp_path, NEXT_DAY).error is None
    assert _column_types(database, spec) == {"parts": "jsonb", "weight": "bigint"}
    assert _count(database, spec, "weight = 7 and parts = '[1]'") == 20

    assert load_one(database, spec, tmp_path, DAY).error is None, "a column without values loads where the table has it"
    assert all(verification.passed for verification in run_verify(spec, url=database))
    assert_nothing_left_over(database)


@_BOTH
def test_columns_get_the_type_that_holds_the_values_of_every_width(
    database: str, tmp_path: Path, specs: dict[Drift, TableSpec]
) -> None:
    spec = specs[Drift.EVOLVE]
    frame = pl.DataFrame(parcels(20)).with_columns(
        pl.lit(0.5, pl.Float16).alias("half"),
        pl.lit(1, pl.Int8).alias("count"),
        pl.lit("x", pl.Categorical).alias("kind"),
    )
    (tmp_path / "trickle" / DAY).mkdir(parents=True)
    frame.write_parquet(tmp_path / "trickle" / DAY / "1.parquet")
    assert load_one(database, spec, tmp_path, DAY).error is None
    assert _column_types(database, spec) == {"half": "double precision", "count": "bigint", "kind": "text"}
    _write(tmp_path, 1, [{**row, "half": 0.1, "count": 2**40, "kind": "y"} for row in parcels(20, NEXT_DAY)], NEXT_DAY)
    assert load_one(database, spec, tmp_path, NEXT_DAY).error is None
    assert _count(database, spec, "(half, count, kind) in ((0.5, 1, 'x'), (0.1, 2^40, 'y'))") == 40


def test_files_that_give_a_column_as_integers_and_as_fractions_make_it_a_column_of_fractions(
    database: str, tmp_path: Path
) -> None:
    spec = PLANNED_DRIFT[Drift.EVOLVE]
    _write(tmp_path, 1, [{**row, "weight": 1} for row in parcels(20)])
    _write(tmp_path, 2, [{**row, "weight": 1.5} for row in parcels(40)[20:]])
    assert load_one(database, spec, tmp_path, DAY).error is None
    assert _column_types(database, spec) == {"weight": "double precision"}

    _write(tmp_path, 1, [{**row, "note": 1} for row in parcels(20, NEXT_DAY)], NEXT_DAY)
    _write(tmp_path, 2, [{**row, "note": "x"} for row in parcels(40, NEXT_DAY)[20:]], NEXT_DAY)
    report = load_one(database, spec, tmp_path, NEXT_DAY)
    assert "column note is text in" in str(report.error)
    assert "bigint in another file" in str(report.error)
    assert _column_types(database, spec) == {"weight": "double precision"}


@_BOTH
def test_a_load_that_fails_leaves_the_table_with_the_columns_that_it_had(
    database: str, tmp_path: Path, specs: dict[Drift, TableSpec]
) -> None:
    spec = specs[Drift.EVOLVE]
    _write(tmp_path, 1, [{**row, "weight": 1.5} for row in parcels(20)])
    _write(tmp_path, 2, _without(parcels(600)[20:], "label"))
    report = load_one(database, spec, tmp_path, DAY)
    assert report.error is not None
    assert _column_types(database, spec) == {}

    _write(tmp_path, 2, [{**row, "weight": 2.5} for row in parcels(40)[20:]])
    assert load_one(database, spec, tmp_path, DAY).error is None
    assert _column_types(database, spec) == {"weight": "double precision"}
    assert _count(database, spec, "weight = 2.5") == 20
    assert all(verification.passed for verification in run_verify(spec, url=database))
    assert_nothing_left_over(database)


@pytest.mark.parametrize("name", ["ctid", "x" * 64])
@_BOTH
def test_a_column_that_no_table_can_have_is_named(
    database: str, tmp_path: Path, specs: dict[Drift, TableSpec], name: str
) -> None:
    spec = specs[Drift.EVOLVE]
    _write(tmp_path, 1, [{**row, name: 1} for row in parcels(20)])
    report = load_one(database, spec, tmp_path, DAY)
    assert isinstance(report.error, SourceError)
    assert f"column '{name}' cannot become a column of the table" in str(report.error)
    assert _column_types(database, spec) == {}


@pytest.mark.parametrize("drift", [Drift.FREEZE, Drift.EVOLVE])
def test_a_key_that_only_lines_of_a_later_chunk_have_is_a_column_too(
    database: str, tmp_path: Path, drift: Drift
) -> None:
    spec = DRIFTING[drift].model_copy(update={"source": NdjsonFiles(path="{landing}/parcels.ndjson")})
    rows = [*parcels(100), *({**row, "weight": 7} for row in parcels(120)[100:])]
    (tmp_path / "parcels.ndjson").write_text(
        "".join(json.dumps(row, default=str) + "\n" for row in rows), encoding="utf-8"
    )

    report = load_one(database, spec, tmp_path, DAY)

    if drift is Drift.FREEZE:
        assert isinstance(report.error, SourceError)
        assert "has columns that Parcel does not know: ['weight']" in str(report.error)
        assert "parcels.ndjson" in str(report.error)
    else:
        assert report.error is None, report.error
        assert _column_types(database, spec) == {"weight": "bigint"}
        assert (_count(database, spec), _count(database, spec, "weight = 7")) == (120, 20)
    assert_nothing_left_over(database)


def test_a_key_that_lines_of_a_later_chunk_give_another_type_keeps_the_first_one(database: str, tmp_path: Path) -> None:
    spec = DRIFTING[Drift.EVOLVE].model_copy(update={"source": NdjsonFiles(path="{landing}/parcels.ndjson")})
    rows = [{**row, "weight": 7 if number < 100 else "seven"} for number, row in enumerate(parcels(120))]
    (tmp_path / "parcels.ndjson").write_text(
        "".join(json.dumps(row, default=str) + "\n" for row in rows), encoding="utf-8"
    )

    report = load_one(database, spec, tmp_path, DAY)

    assert report.error is None, report.error
    assert (report.written_rows, report.dead_lettered_rows) == (100, 20)
    assert _column_types(database, spec) == {"weight": "bigint"}
