"""What a transform gives is held against what it got, whatever it does with its frame."""

import polars as pl
import pytest
from pydantic import BaseModel, ValidationError

from rowledger.chunk.preparation import PreparedRows, prepare_rows
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.column import Column, ColumnType, TypeName
from rowledger.spec.partition import Partition
from rowledger.spec.source import ABSENT_PREFIX
from rowledger.spec.table import Drift, TableSpec
from rowledger.spec.transform import FrameTransform, RowTransform


class Named(BaseModel):
    number: int
    name: str = "unnamed"


_COLUMNS = (
    Column("number", ColumnType(TypeName.BIGINT), nullable=False),
    Column("name", ColumnType(TypeName.TEXT), nullable=False),
)


def _spec(**changes: object) -> TableSpec:
    return TableSpec(name="named", row=Named, source=ParquetFiles(path="{landing}/x.parquet"), **changes)


def _prepared(frame: pl.DataFrame, function: object) -> PreparedRows:
    spec = _spec(transform=FrameTransform(function=function))
    return prepare_rows(spec, _COLUMNS, frame, range(frame.height), Partition(key="all"), dead_letters_max=10)


def _fill(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(name=pl.when(pl.col("number") == 1).then(pl.lit("filled")).otherwise("name"))


def test_a_value_that_a_transform_gives_to_a_row_without_the_column_is_kept() -> None:
    frame = pl.DataFrame(
        {"number": [1, 2, 3], "name": [None, None, "own"], f"{ABSENT_PREFIX}name": [True, True, False]}
    )
    prepared = _prepared(frame, _fill)
    assert prepared.good.rows() == [(1, "filled"), (2, "unnamed"), (3, "own")]
    assert prepared.rejected == []


def _leave(frame: pl.DataFrame) -> pl.DataFrame:
    if (frame["number"] == 2).any():
        raise SystemExit("secret")
    return frame


def test_a_transform_that_wants_to_end_the_process_costs_its_row_alone() -> None:
    prepared = _prepared(pl.DataFrame({"number": [1, 2, 3], "name": ["a", "b", "c"]}), _leave)
    assert prepared.good["number"].to_list() == [1, 3]
    (letter,) = prepared.rejected
    assert letter.row_no == 1
    assert letter.reason.startswith("the transform raised SystemExit in _leave, test_transforms.py line ")
    assert "secret" not in letter.reason


@pytest.mark.parametrize("transform", [FrameTransform(function=_fill), RowTransform(function=lambda row: row)])
def test_a_table_that_evolves_has_no_transform(transform: FrameTransform | RowTransform) -> None:
    with pytest.raises(ValidationError, match="EVOLVE does not go with a transform"):
        _spec(transform=transform, drift=Drift.EVOLVE)


def test_a_budget_says_where_it_comes_from() -> None:
    assert _spec().dead_letters.told(72) == "0 (rows_max 1000, share_max 0.01 of 72 rows)"
