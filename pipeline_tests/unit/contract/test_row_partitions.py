"""Rows are sorted by partition as the load judges them: windows of any zone, values of any type, two dimensions."""

import itertools
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Self
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from pydantic import AfterValidator, AwareDatetime, BaseModel, NaiveDatetime, field_validator, model_validator

from rowledger.contract.check import Contract
from rowledger.contract.row_partitions import RowPartitions
from rowledger.contract.sql_types import SmallInt, char
from rowledger.errors import SpecError
from rowledger.spec.condition import Equals, Window
from rowledger.spec.partition import Partition


class Row(BaseModel):
    at: AwareDatetime
    local: NaiveDatetime | None
    day: date
    shop: Annotated[str, char(3)]
    number: SmallInt
    id: uuid.UUID
    is_open: bool


_ROME = ZoneInfo("Europe/Rome")
_UUIDS = [uuid.UUID(int=n) for n in range(3)]


def _days(column: str, *, zone: ZoneInfo = _ROME) -> list[Partition]:
    """31 March 2024, which has 23 hours in Rome, and the days around it; not in their order."""
    starts = [datetime(2024, 3, 30, tzinfo=zone) + timedelta(days=n) for n in range(4)]
    windows = [(start.astimezone(UTC), end.astimezone(UTC)) for start, end in itertools.pairwise(starts)]
    partitions = [Partition(f"{lower:%F}", (Window(column, lower, upper, zone.key),)) for lower, upper in windows]
    return [partitions[2], partitions[0], partitions[1]]


def _equal(column: str, *texts: str) -> list[Partition]:
    return [Partition(text, (Equals(column, text),)) for text in texts]


_INSTANTS = [
    "2024-03-29T22:59:59.999999+00:00",
    "2024-03-29T23:00:00+00:00",
    "2024-03-30T22:59:59+00:00",
    "2024-03-30T23:00:00+00:00",
    "2024-03-31T21:59:59+00:00",
    "2024-03-31T22:00:00+00:00",
    "2024-04-01T22:00:00+00:00",
]
_OF_INSTANTS = [None, 1, 1, 2, 2, 0, None]


@pytest.mark.parametrize(
    ("partitions", "column", "expected"),
    [
        pytest.param(_days("at"), pl.Series("at", _INSTANTS), _OF_INSTANTS, id="texts of instants"),
        pytest.param(
            _days("at"),
            pl.Series("at", map(datetime.fromisoformat, _INSTANTS), dtype=pl.Datetime("us", "Asia/Tokyo")),
            _OF_INSTANTS,
            id="instants of another zone",
        ),
        pytest.param(
            _days("local"),
            pl.Series("local", ["2024-03-31T00:00:00", "2024-03-30T23:59:00", None]).str.to_datetime(strict=False),
            [2, 1, None],
            id="local times",
        ),
        pytest.param(
            _days("day"),
            pl.Series("day", ["2024-03-31", "2024-04-01", "no date", "2023-03-31", None]),
            [2, 0, None, None, None],
            id="texts of dates, and others",
        ),
        pytest.param(
            _equal("shop", "b", "ab", "abc"),
            pl.Series("shop", ["abc", "ab ", "b", "c", None, "abcd"]),
            [2, 1, 0, None, None, None],
            id="padded texts",
        ),
        pytest.param(
            _equal("number", "7", "-3"),
            pl.Series("number", ["7", "-3", "07x", "8"]),
            [0, 1, None, None],
            id="numbers as texts",
        ),
        pytest.param(
            _equal("number", "7", "-3"), pl.Series("number", [7.0, 7.5, -3.0]), [0, None, 1], id="whole floats"
        ),
        pytest.param(
            _equal("id", *map(str, _UUIDS)),
            pl.Series("id", [str(_UUIDS[2]), str(uuid.UUID(int=9))]),
            [2, None],
            id="uuids",
        ),
        pytest.param(
            _equal("is_open", "false", "true"), pl.Series("is_open", [True, False, None]), [1, 0, None], id="bools"
        ),
    ],
)
def test_each_row_has_the_partition_whose_condition_it_meets(
    partitions: list[Partition], column: pl.Series, expected: list[int | None]
) -> None:
    found = RowPartitions(Contract.of(Row), partitions).of_rows(column.to_frame())

    assert found.to_list() == expected


def test_of_two_dimensions_both_decide() -> None:
    pairs = [("a", "1"), ("b", "1"), ("b", "2")]
    partitions = [Partition(f"{s}|{n}", (Equals("shop", s), Equals("number", n))) for s, n in pairs]
    frame = pl.DataFrame({"number": [1, 2, 1, 2, None], "shop": ["b", "b", "a", "a", "a"]})

    assert RowPartitions(Contract.of(Row), partitions).of_rows(frame).to_list() == [1, 2, 0, None, None]


def test_a_frame_without_the_column_has_rows_of_no_partition() -> None:
    found = RowPartitions(Contract.of(Row), _equal("shop", "a")).of_rows(pl.DataFrame({"number": [1, 2]}))

    assert found.to_list() == [None, None]


def test_windows_that_overlap_are_refused() -> None:
    day = timedelta(days=1)
    start = datetime(2024, 3, 1, tzinfo=UTC)
    overlapping = [Partition(str(n), (Window("at", start, start + n * day),)) for n in (1, 2)]

    with pytest.raises(SpecError, match="'at' overlap"):
        RowPartitions(Contract.of(Row), overlapping)
    with pytest.raises(SpecError, match="partition_by"):
        RowPartitions(Contract.of(Row), [Partition("all")])


def _unchanged(value: object) -> object:
    return value


class _OfAnotherField(BaseModel):
    shop: str
    number: int

    _check = field_validator("number")(_unchanged)


class _OfTheField(_OfAnotherField):
    _before = field_validator("shop", mode="before")(_unchanged)


class _OfAnyField(BaseModel):
    shop: str

    _check = field_validator("*")(_unchanged)


class _OfTheAnnotation(BaseModel):
    shop: Annotated[str, AfterValidator(_unchanged)]


class _OfTheRow(BaseModel):
    shop: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        return self


class _AfterInit(BaseModel):
    shop: str

    def model_post_init(self, _context: object) -> None:
        self.shop = self.shop.lower()


@pytest.mark.parametrize("row", [_OfTheField, _OfAnyField, _OfTheAnnotation, _OfTheRow, _AfterInit])
def test_rows_are_not_split_by_a_column_that_the_model_s_own_code_may_change(row: type[BaseModel]) -> None:
    with pytest.raises(SpecError, match=rf"{row.__name__} has .*'shop' .*; give the rows of each by its key"):
        RowPartitions(Contract.of(row), _equal("shop", "a", "b"))


def test_rows_are_split_whatever_validates_their_other_columns() -> None:
    frame = pl.DataFrame({"shop": ["b", "a"], "number": [1, 2]})
    assert RowPartitions(Contract.of(_OfAnotherField), _equal("shop", "a", "b")).of_rows(frame).to_list() == [1, 0]
