"""Columns of Python values hold what the values are, and the JSON text of each where no one type does."""

import csv
import dataclasses
import json
from collections import UserDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, strategies as st
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, SecretStr

from rowledger.contract.check import Contract
from rowledger.contract.decimal_texts import python_cells
from rowledger.contract.dynamic import parse_dynamic
from rowledger.contract.write_payloads import row_payloads
from rowledger.sources.frame_builder import FrameBuilder, Unfit, frame_of_rows
from rowledger.sources.plain_values import json_text, plain_value
from rowledger.sources.value_columns import array_of, column_of
from rowledger.spec.marked_types import DYNAMIC
from rowledger.spec.source import ABSENT_PREFIX, FAULT, LINE

LOCAL = datetime(2024, 3, 1, 12, 30, 15, 123456)  # noqa: DTZ001, a local time
BERLIN = LOCAL.replace(tzinfo=ZoneInfo("Europe/Berlin"))
NAMESPACE = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def column(*values: object) -> pl.Series:
    return frame_of_rows([{"c": value} for value in values])["c"]


def dynamic(*values: object) -> list[str | None]:
    """The JSON texts, after a look that there is nothing else."""
    series = column(*values)
    assert series.dtype == DYNAMIC
    return series.struct[0].to_list()


# ---- one type -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([True, False, None], pl.Boolean()),
        ([-(2**63), 2**63 - 1, None], pl.Int64()),
        ([0, 2**64 - 1], pl.UInt64()),
        ([1.5, -0.0, float("inf")], pl.Float64()),
        (["", "ä\x00\n", None], pl.String()),
        ([b"\xff\x00", b""], pl.Binary()),
        ([date.min, date.max], pl.Date()),
        ([time(23, 59, 59, 999999)], pl.Time()),
        ([LOCAL, datetime.min, datetime.max], pl.Datetime("us")),  # noqa: DTZ901, local times
        ([timedelta(days=-3, microseconds=1), timedelta(days=100_000_000)], pl.Duration("us")),
        ([Decimal("1.100"), Decimal("-0.001"), None], pl.Decimal(38, 3)),
        ([Decimal(7), Decimal("1E+3")], pl.Decimal(38, 0)),
        ([Decimal("9" * 38), None], pl.Decimal(38, 0)),
        ([[1, None], [], None], pl.List(pl.Int64())),
        ([[], None], pl.List(pl.Null())),
        ([{"a": 1, "b": [Decimal("1.5")]}, None], pl.Struct({"a": pl.Int64(), "b": pl.List(pl.Decimal(38, 1))})),
        ([None, None], pl.Null()),
    ],
)
def test_values_of_one_type_make_a_column_of_it(values: list[object], dtype: pl.DataType) -> None:
    made = column(*values)

    assert made.dtype == dtype
    assert made.to_list() == values


def test_a_zero_keeps_its_sign_and_nan_stays_nan() -> None:
    made = column(-0.0, float("nan")).to_list()

    assert [repr(value) for value in made] == ["-0.0", "nan"]


def test_instants_of_all_zones_make_a_column_in_utc() -> None:
    made = column(BERLIN, LOCAL.replace(tzinfo=timezone(timedelta(hours=-5))), LOCAL.replace(tzinfo=UTC))

    assert made.dtype == pl.Datetime("us", "UTC")
    assert made.to_list() == [BERLIN, LOCAL.replace(hour=17, tzinfo=UTC), LOCAL.replace(tzinfo=UTC)]


# ---- the JSON text of each ----------------------------------------------------------------------------------------------


def test_values_of_several_types_are_kept_apart() -> None:
    values = [1, 1.0, True, "1", None, Decimal("1.00")]

    assert dynamic(*values) == ["1", "1.0", "true", '"1"', None, "1.00"]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([2**64, -1], ["18446744073709551616", "-1"]),
        ([Decimal("9" * 39)], ["9" * 39]),
        ([Decimal("NaN"), Decimal("-Infinity"), Decimal("1.50")], ["NaN", "-Infinity", "1.50"]),
        ([Decimal("1E+30"), Decimal("1E-20")], ["1E+30", "1E-20"]),
        ([LOCAL, LOCAL.replace(tzinfo=UTC)], ['"2024-03-01T12:30:15.123456"', '"2024-03-01T12:30:15.123456+00:00"']),
        ([time(1, tzinfo=UTC)], ['"01:00:00+00:00"']),
        ([timedelta.max, timedelta(microseconds=-1)], ['"P999999999DT86399.999999S"', '"-P0DT0.000001S"']),
        ([{"a": 1}, {"b": 2}], ['{"a": 1}', '{"b": 2}']),
        ([{}], ["{}"]),
        ([[1, "x", float("nan")], [b"\xff"]], ['[1, "x", NaN]', '[{"rowledger base64": "/w=="}]']),
        ([1, b"a"], ["1", '{"rowledger base64": "YQ=="}']),
        ([10**5000], [f'"{10**5000:#x}"']),
    ],
)
def test_what_no_one_type_holds_is_its_json_text(values: list[object], texts: list[str]) -> None:
    assert dynamic(*values) == texts


_TEXTS = st.text(st.characters(codec="utf-8"), max_size=9)
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**40), 10**40), _TEXTS, st.binary(max_size=9),
    st.floats(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False),
)  # fmt: skip
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner),
    max_leaves=6,
)


@given(
    st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), max_size=6)
    | st.lists(st.none() | st.binary(), max_size=6)
)
def test_large_texts_and_bytes_make_the_column_that_small_ones_make(values: list[Any]) -> None:
    assert array_of(values, are_large=True).equals(array_of(values))


@given(st.lists(_VALUES, max_size=6))
def test_every_column_gives_back_equal_values_of_the_same_types(values: list[Any]) -> None:
    made = column_of("c", values)

    if made.dtype == DYNAMIC:
        texts = made.struct[0].to_list()
        found = [None if text is None else parse_dynamic(text, exact=True) for text in texts]
        assert [_comparable(value) for value in found] == [_comparable(_as_json(value)) for value in values]
    else:
        assert python_cells(made) == values
        assert [type(value) for value in python_cells(made)] == [type(value) for value in values]


def _as_json(value: Any) -> Any:
    """What is left of types in JSON: numbers with and without a fraction; text for numbers of neither."""
    match value:
        case float():
            return Decimal(repr(value))
        case list():
            return [_as_json(item) for item in value]
        case dict():
            return {name: _as_json(item) for name, item in value.items()}
        case _:
            return value


def _comparable(value: Any) -> Any:
    """Numbers by value, and True apart from 1."""
    match value:
        case bool():
            return ("bool", value)
        case bytes():
            return _comparable(json.loads(json_text(value)))
        case int() | Decimal():
            return ("number", Decimal(value))
        case list():
            return [_comparable(item) for item in value]
        case dict():
            return {name: _comparable(item) for name, item in value.items()}
        case _:
            return value


def test_specials_are_texts_in_payloads_since_json_has_none() -> None:
    made = frame_of_rows([{"c": value} for value in (float("nan"), "NaN", [float("-inf"), 'a "NaN" Infinity'], 1)])

    assert [json.loads(payload, parse_constant=pytest.fail)["c"] for payload in row_payloads(made)] == [
        "NaN",
        "NaN",
        ["-Infinity", 'a "NaN" Infinity'],
        1,
    ]


def test_what_is_missing_in_a_column_of_text_is_refused_and_not_loaded_as_its_name() -> None:
    """Rows of `DataFrame.to_dict` have NaN where a text is missing."""
    made = frame_of_rows([{"text": "x"}, {"text": float("nan")}, {"text": "NaN"}])

    checked = Contract.of(Text).check(made)

    assert checked.good["text"].to_list() == ["x", "NaN"]
    assert [(letter.row_no, json.loads(letter.payload)) for letter in checked.rejected] == [(1, {"text": "NaN"})]


# ---- values of other libraries ------------------------------------------------------------------------------------------


class Colour(StrEnum):
    RED = "red"


class Size(Enum):
    SMALL = 1


class Inner(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    odd_name: int = Field(alias="odd name")


class Renamed(BaseModel):
    code: int = Field(validation_alias="Code", serialization_alias="the code")
    either: int = Field(validation_alias=AliasChoices("one", "other"))
    inside: int = Field(validation_alias=AliasPath("document", "inside"))


class Named(NamedTuple):
    a: int
    b: str


class Text(BaseModel):
    text: str


@dataclasses.dataclass
class Point:
    x: int
    y: Decimal


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, "red"),
        (Size.SMALL, 1),
        (type("Id", (UUID,), {})(str(NAMESPACE)), NAMESPACE),
        (IPv4Address("10.0.0.1"), "10.0.0.1"),
        (PurePosixPath("a/b"), "a/b"),
        (SecretStr("s"), "s"),
        (bytearray(b"a"), b"a"),
        ((1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (Inner(odd_name=1), {"odd name": 1}),
        (Point(1, Decimal("2.0")), {"x": 1, "y": Decimal("2.0")}),
        (np.int8(-1), -1),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float64(0.1), 0.1),
        (np.True_, True),
        (np.str_("x"), "x"),
        (np.array([[1], [2]]), [[1], [2]]),
        (np.datetime64("2024-03-01T12:30:15.123456"), LOCAL),
        (np.datetime64("2024-03-01T12:30:15.123456000"), LOCAL),
        (np.datetime64("2024-03-01T12:30:15.123456789"), "2024-03-01T12:30:15.123456789"),
        (np.datetime64("NaT", "s"), None),  # without a unit numpy warns from 2.4 on
        (np.array(["2024-03-01"], dtype="M8[ns]"), [datetime(2024, 3, 1)]),  # noqa: DTZ001, a local time
        (np.timedelta64(5, "s"), timedelta(seconds=5)),
        (pd.Timestamp(LOCAL), LOCAL),
        (pd.Timestamp(1, tz="UTC"), "1970-01-01T00:00:00.000000001+00:00"),
        (pd.Timedelta(days=1), timedelta(days=1)),
        (pd.NaT, None),
        (pd.NA, None),
    ],
)
def test_values_of_common_libraries_become_plain_ones(value: object, plain: object) -> None:
    made = plain_value(value)

    assert made == plain
    assert type(made) is type(plain)


# ---- rows ---------------------------------------------------------------------------------------------------------------


def frame(*items: object, columns: tuple[str, ...] = ()) -> pl.DataFrame:
    builder = FrameBuilder(columns, columns_max=100)
    return builder.frame([builder.take(item) for item in items])


def test_the_likeness_of_an_item_keeps_every_value_whatever_its_key() -> None:
    keys = {1: "a", "1": "b", None: "c", (1, "x"): "d", object(): "e"}
    made = frame(
        {"n": {2.5: {3.5: "deep"}, "t": 1}}, {1.5: "x", **{str(key): value for key, value in keys.items()}}, keys
    )

    assert [json.loads(line) for line in made[LINE].to_list()] == [
        {"n": {"t": 1, "2.5": {"3.5": "deep"}}},
        {"1.5": "x", **{str(key): value for key, value in keys.items()}},
        {"1": "b", "1 <int>": "a", "null": "c", '[1, "x"]': "d", '"<object>"': "e"},
    ]


def test_a_key_that_a_row_lacks_is_absent_and_not_null() -> None:
    made = frame({"a": 1}, {"a": None, "b": 2}, columns=("a", "b", "c"))

    assert made.to_dict(as_series=False) == {
        "a": [1, None],
        "b": [None, 2],
        ABSENT_PREFIX + "b": [True, False],
        "c": [None, None],
        ABSENT_PREFIX + "c": [True, True],
    }


def test_rows_may_be_models_by_alias_and_dataclasses_and_named_tuples() -> None:
    made = frame(Inner(odd_name=1), {"odd name": 2})
    renamed = frame(Renamed.model_validate({"Code": 1, "other": 2, "document": {"inside": 3}}))
    points = frame(Point(1, Decimal("0.5")))
    named = frame(Named(1, "x"))

    assert made.to_dict(as_series=False) == {"odd name": [1, 2]}
    assert renamed.to_dict(as_series=False) == {"Code": [1], "one": [2], "inside": [3]}
    assert named.to_dict(as_series=False) == {"a": [1], "b": ["x"]}
    assert points.to_dict(as_series=False) == {"x": [1], "y": [Decimal("0.5")]}


def test_what_is_no_row_has_its_reason_and_its_likeness_and_its_neighbours_stay() -> None:
    unfit = [7, "text", (1, 2), None, object(), {1: 2}, {"rowledger x": 1}, {"a": 1, "b": object()}, {"b": [{"c": 1j}]}]
    made = frame({"a": 1}, *unfit, {"a": 2})

    assert made["a"].to_list() == [1, *[None] * len(unfit), 2]
    assert made[FAULT].to_list() == [
        None,
        "is not a row: an item of type int",
        "is not a row: an item of type str",
        "is not a row: an item of type tuple",
        "is not a row: an item of type NoneType",
        "is not a row: an item of type object",
        "has a column whose name is of type int",
        "has a column whose name begins with 'rowledger ', which is reserved",
        "column 'b' holds a value of type object, which no column can hold",
        "column 'b' holds a value of type complex, which no column can hold",
        None,
    ]
    assert [line and line.decode() for line in made[LINE].to_list()] == [
        None,
        "7",
        '"text"',
        "[1, 2]",
        "null",
        '"<object>"',
        '{"1": 2}',
        '{"rowledger x": 1}',
        '{"a": 1, "b": "<object>"}',
        '{"b": [{"c": "<complex>"}]}',
        None,
    ]
    assert not [name for name in made.columns if name.startswith(ABSENT_PREFIX)]


def test_half_a_character_makes_a_fault_wherever_it_stands() -> None:
    made = frame(
        {"a": "x", "b": [1]}, {"a": "\ud83d", "b": [2]}, {"a": "ü", "b": ["\udc00", 1]}, {"\ud800": 1, "a": "😀"}
    )

    assert made["a"].to_list() == ["x", None, None, None]
    assert made[FAULT].to_list() == [
        None,
        "column 'a' holds a text with half a surrogate pair, which is no character",
        "column 'b' holds a text with half a surrogate pair, which is no character",
        "has a column whose name has half a surrogate pair, which is no character",
    ]
    assert [line and json.loads(line) for line in made[LINE].to_list()] == [
        None,
        {"a": "\ud83d", "b": [2]},
        {"a": "ü", "b": ["\udc00", 1]},
        {"\ud800": 1, "a": "😀"},
    ]


def test_what_raises_when_it_is_looked_at_is_no_row() -> None:
    class Broken(UserDict[str, int]):
        def __getitem__(self, name: str) -> int:
            raise ValueError("a secret")

    made = frame(Broken({"a": 1}), {"a": 2})

    assert made["a"].to_list() == [None, 2]
    assert made[FAULT].to_list() == ["cannot be read: it raised ValueError", None]
    assert b"a secret" not in made[LINE][0]


def test_a_surplus_field_of_a_csv_reader_is_told_with_all_fields() -> None:
    made = frame(*csv.DictReader(["a,b", "1,2", "3,4,5"]))

    assert made["a"].to_list() == ["1", None]
    assert made[FAULT].to_list() == [None, "has a column whose name is of type NoneType"]
    assert made[LINE].to_list() == [None, b'{"a": "3", "b": "4", "null": ["5"]}']


def test_a_row_that_holds_itself_is_no_row() -> None:
    row: dict[str, Any] = {"a": 1}
    row["self"] = [row]

    assert frame(row)[FAULT].to_list() == ["column 'self' is nested too deeply"]


def test_columns_keep_their_order_and_their_types_from_batch_to_batch() -> None:
    builder = FrameBuilder(("b", "a"), columns_max=9)
    first = builder.frame([{"a": 1, "b": "x", "z": 1.5}])
    second = builder.frame([{"z": None, "a": None, "b": None}])

    assert first.columns == second.columns == ["b", "a", "z"]
    assert first.schema == second.schema
    assert second.row(0) == (None, None, None)


@pytest.mark.parametrize("value", [1, [1], {"a": 1}, Decimal("1.5"), LOCAL.replace(tzinfo=UTC), [1, "x"]])
def test_a_batch_of_nulls_takes_every_type(value: object) -> None:
    builder = FrameBuilder((), columns_max=9)
    dtype = builder.frame([{"a": value}, {"a": "x" if value == [1, "x"] else None}])["a"].dtype

    assert builder.frame([{"a": None}]).to_dict(as_series=False) == {"a": [None]}
    assert builder.frame([{"a": None}])["a"].dtype == dtype


def test_too_many_columns_are_an_error() -> None:
    builder = FrameBuilder((), columns_max=9)

    with pytest.raises(Unfit, match="more than 9 columns"):
        builder.frame([{f"user {n}": n} for n in range(10)])


def test_what_was_taken_stays_though_the_item_and_what_is_in_it_changes() -> None:
    builder = FrameBuilder((), columns_max=9)
    tags, bytes_, record = [1], bytearray(b"x"), Inner(odd_name=1)
    item = {"n": 1, "tags": tags, "bytes": bytes_, "nested": {"deep": tags}, "array": np.array([1]), "record": record}
    plain = {"n": 1}
    taken = [builder.take(item), builder.take(plain), builder.take(record)]

    tags.append(2)
    bytes_[:] = b"yy"
    item["array"][0] = record.odd_name = item["n"] = plain["n"] = 2  # type: ignore[index]

    assert builder.frame(taken[:1]).row(0) == (1, [1], b"x", {"deep": [1]}, [1], {"odd name": 1})
    assert taken[1:] == [{"n": 1}, {"odd name": 1}]


def test_no_rows_are_an_empty_frame() -> None:
    assert frame(columns=("a",)).shape == (0, 1)
