"""Columns' way and rows' way: the same verdicts and the same values, which are pydantic's own.

Models are drawn over all constructs, rows are drawn good, bad and at the borders, and come as the values themselves, as
text, or as values of several types.
"""

# ruff: noqa: DTZ001, timestamps without a zone are half of what is tested

import json
import math
import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import polars as pl
import pytest
from annotated_types import Predicate
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    Strict,
    StringConstraints,
    ValidationError,
    create_model,
)
from typing_extensions import TypedDict

from rowledger.contract.cells import holds_decimals
from rowledger.contract.check import Contract
from rowledger.contract.checked import Checked
from rowledger.contract.read_payloads import frame_of_payloads
from rowledger.contract.sql_types import SmallInt, SqlType, varchar
from rowledger.contract.write_payloads import row_payloads
from rowledger.errors import SourceError
from rowledger.spec.column import ColumnType, TypeName
from rowledger.spec.marked_types import DYNAMIC
from rowledger.spec.source import ABSENT_PREFIX


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Odd(Enum):
    A = "a"
    ONE = 1


class Place(BaseModel):
    name: str
    zip: Annotated[str, Field(max_length=3)] | None
    floor: int = 0


class Journey(BaseModel):
    start: Place
    stops: list[Place]
    legs: list[float] | None = None


class Pair(TypedDict):
    a: int
    b: str


@dataclass
class Visit:
    place: Place
    day: date


SMALL = st.integers(-3, 12)
WORDS = st.sampled_from(
    ["", "a", "ab", "red", "RED", " x ", "12", "1.5", "true", "é€", "a\0b", "İß", "2024-03-01", "1e3", "١٢", "1_0"]
)
NUMBERS = st.one_of(SMALL, st.sampled_from([2**53 + 1, 2**63, -(2**63), 0.5, 1.0, 1.9, -0.0, 1e300, math.inf]))
PLACES = st.fixed_dictionaries(
    {
        "name": WORDS,
        "zip": st.one_of(st.none(), WORDS),
        "floor": st.one_of(SMALL, st.sampled_from([1.5, "7", True, None])),
    }
)
GOOD_PLACES = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "é\n"]), "zip": st.none() | st.just("123"), "floor": SMALL}
)
_COLOURS: dict[Any, Any] = {colour.value: colour for colour in Colour}
DAYS = st.one_of(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.sampled_from([date(1, 1, 1), date(9999, 12, 31)]))
NAIVE = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))
AWARE = NAIVE.map(lambda moment: moment.replace(tzinfo=UTC))

# For each construct: its annotation, and what rows may hold for it.
CONSTRUCTS: dict[str, tuple[Any, Any]] = {
    "bool": (bool, st.booleans()),
    "int": (int, NUMBERS),
    "small int": (SmallInt, NUMBERS),
    "strict int": (Annotated[int, Strict()], NUMBERS),
    "strict text": (Annotated[str, Field(strict=True)], WORDS),
    "strict float": (Annotated[float, Strict()], NUMBERS),
    "strict date": (Annotated[date, Strict()], DAYS),
    "bounded int": (Annotated[int, Field(ge=0, lt=10, multiple_of=2)], NUMBERS),
    "float": (Annotated[float, Field(ge=-1)], NUMBERS),
    "stepped float": (Annotated[float, Field(multiple_of=0.5)], NUMBERS),
    "decimal": (Annotated[Decimal, Field(max_digits=5, decimal_places=2)], st.decimals(-9999, 9999, places=2)),
    "any decimal": (Decimal, NUMBERS),
    "text": (Annotated[str, Field(min_length=1, max_length=4)], WORDS),
    "varchar": (Annotated[str, varchar(2)], WORDS),
    "pattern": (Annotated[str, Field(pattern="^[a-z]+$")], WORDS),
    "python pattern": (Annotated[str, Field(pattern=re.compile("a|r"))], WORDS),
    "stripped": (Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)], WORDS),
    "predicate": (Annotated[int, Predicate(lambda value: value % 2 == 0)], SMALL),
    "literal": (Literal["a", "red"], WORDS),
    "mixed literal": (Literal["a", 1], st.one_of(WORDS, SMALL, st.booleans())),
    "enum": (Colour, WORDS),
    "strict enum": (Annotated[Colour, Strict()], WORDS),
    "mixed enum": (Odd, st.one_of(WORDS, SMALL)),
    "uuid": (UUID, st.one_of(st.uuids().map(str), WORDS)),
    "bytes": (bytes, st.binary(max_size=3)),
    "date": (date, DAYS),
    "datetime": (datetime, NAIVE),
    "aware": (AwareDatetime, AWARE),
    "time": (time, st.times()),
    "duration": (timedelta, st.timedeltas(timedelta(days=-5), timedelta(days=5))),
    "address": (IPv4Address, st.sampled_from(["10.0.0.1", "::1", "x"])),
    "int or float": (int | float, NUMBERS),
    "text or int": (Annotated[str | int, SqlType(ColumnType(TypeName.JSONB))], st.one_of(WORDS, SMALL, st.booleans())),
    "list": (Annotated[list[int], Field(max_length=2)], st.lists(NUMBERS, max_size=3)),
    "list of texts": (list[Annotated[str, Field(min_length=1)] | None], st.lists(st.none() | WORDS, max_size=3)),
    "list of days": (tuple[date, ...], st.lists(DAYS, max_size=2)),
    "set": (set[int], st.lists(SMALL, max_size=3)),
    "document": (Place, st.one_of(GOOD_PLACES, PLACES)),
    "deep document": (
        Journey,
        st.fixed_dictionaries(
            {
                "start": st.one_of(GOOD_PLACES, PLACES),
                "stops": st.lists(st.one_of(GOOD_PLACES, PLACES), max_size=2),
                "legs": st.none() | st.lists(NUMBERS, max_size=2),
            }
        ),
    ),
    "list of documents": (list[Place], st.lists(st.one_of(GOOD_PLACES, PLACES), max_size=2)),
    "typed dict": (Pair, st.fixed_dictionaries({"a": NUMBERS, "b": WORDS})),
    "dataclass": (Visit, st.fixed_dictionaries({"place": GOOD_PLACES, "day": DAYS.map(str)})),
    "mapping": (dict[str, int], st.dictionaries(st.sampled_from(["a", "b"]), NUMBERS, max_size=2)),
    "anything": (Any, st.one_of(NUMBERS, WORDS, st.booleans(), st.lists(SMALL, max_size=2), GOOD_PLACES)),
    "json": (Json[list[int]], st.sampled_from(["[1]", "[]", "{", "null", '["x"]', '"1"', "[1.5]"])),
}  # fmt: skip
CONFIGS = [
    {},
    {"strict": True},
    {"str_strip_whitespace": True, "str_to_lower": True},
    {"str_to_upper": True, "use_enum_values": True},
]


def json_of(value: Any) -> str:
    if isinstance(value, float) and math.isinf(value):
        return '"Infinity"'
    return json.dumps(value, default=str).replace("Infinity", "0")


def native(values: list[Any]) -> pl.Series | None:
    """The values in the type they have; None when they have no common one."""
    try:
        return pl.Series("v", values, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return None


def as_text(values: list[Any]) -> pl.Series:
    return pl.Series("v", [None if value is None else str(value) for value in values], dtype=pl.String)


def as_dynamic(values: list[Any]) -> pl.Series:
    texts = [None if value is None else {DYNAMIC.fields[0].name: json_of(value)} for value in values]
    return pl.Series("v", texts, dtype=DYNAMIC)


@st.composite
def models_and_frames(draw: Any) -> tuple[type[BaseModel], pl.DataFrame]:
    names = draw(st.lists(st.sampled_from(sorted(CONSTRUCTS)), min_size=1, max_size=3, unique=True))
    rows = draw(st.integers(1, 5))
    fields: dict[str, Any] = {}
    columns: list[pl.Series] = []
    for number, name in enumerate(names):
        annotation, cells = CONSTRUCTS[name]
        default: Any = ...
        if draw(st.booleans()):
            annotation, cells = annotation | None, st.one_of(cells, st.none())
            default = draw(st.sampled_from([..., None]))
        fields[f"f{number}"] = (annotation, default)
        values = draw(st.lists(cells, min_size=rows, max_size=rows))
        form = draw(st.sampled_from([native, native, as_text, as_dynamic]))
        series = form(values)
        series = as_dynamic(values) if series is None else series
        absent = draw(st.lists(st.booleans(), min_size=rows, max_size=rows)) if draw(st.integers(0, 3)) == 0 else None
        if absent is not None:
            mask = pl.Series(absent)
            series = pl.select(pl.when(~mask).then(series)).to_series()
            columns.append(mask.alias(f"{ABSENT_PREFIX}f{number}"))
        columns.append(series.alias(f"f{number}"))
    model = create_model("Row", __config__=ConfigDict(**draw(st.sampled_from(CONFIGS))), **fields)
    return model, pl.DataFrame(columns)


def outcome(contract: Contract, frame: pl.DataFrame) -> Checked | str:
    try:
        return contract.check(frame)
    except SourceError as error:
        return str(error)


def values_of(contract: Contract, checked: Checked, rows: int) -> dict[int, tuple[str, ...]]:
    """Each good row, its values in a form that tells them apart."""
    numbers = range(rows) if checked.good_rows is None else checked.good_rows.to_list()
    types = {column.name: column.type for column in contract.columns}
    return {
        number: tuple(_meaning(types[name], value) for name, value in row.items())
        for number, row in zip(numbers, checked.good.iter_rows(named=True), strict=True)
    }


def _meaning(column_type: ColumnType, value: Any) -> str:
    """A value as what it says: blanks in a JSON text and zeros at the end of a numeric say nothing."""
    if value is None:
        return "null"
    match column_type.name:
        case TypeName.JSONB:
            return repr(json.loads(value))
        case TypeName.NUMERIC:
            return repr(Decimal(value).normalize() + 0)
        case _:
            return repr(value)


@given(drawn=models_and_frames())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_both_ways_come_to_the_same_verdicts_and_values(drawn: tuple[type[BaseModel], pl.DataFrame]) -> None:
    model, frame = drawn
    contract = Contract.of(model)
    assert contract.row_by_row is None

    in_columns = outcome(contract, frame)
    by_row = outcome(replace(contract, row_by_row="the test asks for it"), frame)

    if isinstance(in_columns, str) or isinstance(by_row, str):
        assert in_columns == by_row
        return
    assert values_of(contract, in_columns, frame.height) == values_of(contract, by_row, frame.height), (
        model.model_fields
    )
    assert in_columns.good.schema == by_row.good.schema
    assert [letter.row_no for letter in in_columns.rejected] == [letter.row_no for letter in by_row.rejected]


@given(drawn=models_and_frames())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_whatever_pydantic_refuses_is_refused_and_the_rest_is_taken_or_named_a_silent_conversion(
    drawn: tuple[type[BaseModel], pl.DataFrame],
) -> None:
    model, frame = drawn
    found = outcome(Contract.of(model), frame)
    if isinstance(found, str):
        return
    refused = {letter.row_no: letter.reason for letter in found.rejected}
    exact = {rule.name for rule in Contract.of(model).rules if holds_decimals(rule)}
    colours = [
        name for name, info in model.model_fields.items() if Colour in {info.annotation, *get_args(info.annotation)}
    ]
    for number, payload in enumerate(python_rows_of(frame, exact)):
        for name in {*colours} & {*payload}:  # a strict Enum takes members alone, of which a source has the values
            payload[name] = _COLOURS.get(payload[name], payload[name])
        try:
            model.model_validate(payload)
        except ValidationError:
            assert number in refused
        else:
            reason = refused.get(number, "")
            assert number not in refused or not reason.endswith("]"), f"pydantic takes what is refused as: {reason}"


@pytest.mark.parametrize("config", CONFIGS)
def test_a_strict_enum_takes_the_values_of_its_members_both_ways(config: dict[str, bool]) -> None:
    strict = Annotated[Colour, Strict()]
    model = create_model(
        "Row", __config__=ConfigDict(**config), own=strict, maybe=(strict | None, None), many=list[strict]
    )
    frame = pl.DataFrame({"own": ["red", "nope"], "maybe": ["blue", None], "many": [["red", "blue"], []]})
    contract = Contract.of(model)
    for judge in (contract, replace(contract, row_by_row="the test asks for it")):
        checked = judge.check(frame)
        assert [letter.row_no for letter in checked.rejected] == [1]
        assert checked.good["own"].to_list() == ["red"]


def python_rows_of(frame: pl.DataFrame, exact: set[str]) -> list[dict[str, Any]]:
    """Each row as a user would hand it to the model, a JSON number with all its digits where a Decimal is asked for."""
    rows: list[dict[str, Any]] = []
    for row in frame.iter_rows(named=True):
        cells = {name: value for name, value in row.items() if not name.startswith(ABSENT_PREFIX)}
        for name, value in list(cells.items()):
            if row.get(ABSENT_PREFIX + name):
                del cells[name]
            elif frame.schema[name] == DYNAMIC:
                text = "null" if value is None else value[DYNAMIC.fields[0].name]
                cells[name] = json.loads(text, parse_float=Decimal if name in exact else None)
        rows.append(cells)
    return rows


@given(drawn=models_and_frames())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_rows_read_back_from_their_payloads_get_the_same_verdicts_and_values(
    drawn: tuple[type[BaseModel], pl.DataFrame],
) -> None:
    model, frame = drawn
    contract = Contract.of(model)
    back = frame_of_payloads(list(row_payloads(frame)), frame.schema)

    once, again = outcome(contract, frame), outcome(contract, back)

    if isinstance(once, str) or isinstance(again, str):
        assert once == again
        return
    assert values_of(contract, once, frame.height) == values_of(contract, again, frame.height)
    assert [(letter.row_no, letter.reason) for letter in once.rejected] == [
        (letter.row_no, letter.reason) for letter in again.rejected
    ]


GOOD: dict[str, Any] = {
    "bool": True, "int": 2, "small int": 2, "strict int": 2, "bounded int": 2, "predicate": 2, "strict float": 1.5,
    "float": 1.5, "stepped float": 1.5,
    "int or float": 2, "any decimal": 2, "decimal": Decimal("1.50"), "uuid": str(UUID(int=5)),
    "bytes": b"x", "date": date(2024, 3, 1), "strict date": date(2024, 3, 1), "datetime": datetime(2024, 3, 1),
    "aware": datetime(2024, 3, 1, tzinfo=UTC), "time": time(1), "duration": timedelta(1), "address": "10.0.0.1", "json": "[1]",
    "strict enum": "red",
    "literal": "red", "enum": "red", "list": [1], "list of texts": ["a"], "set": [1], "list of days": [date(2024, 3, 1)],
    "document": {"name": "a", "zip": None, "floor": 1}, "list of documents": [{"name": "a", "zip": None, "floor": 1}],
    "deep document": {"start": {"name": "a", "zip": "1", "floor": 1}, "stops": [], "legs": [1.5]},
    "typed dict": {"a": 1, "b": "x"}, "dataclass": {"place": {"name": "a", "zip": None, "floor": 1}, "day": "2024-03-01"},
    "mapping": {"a": 1}, "anything": {"a": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CONSTRUCTS))
def test_every_construct_takes_something_in_columns(name: str) -> None:
    """Otherwise the tests above would compare refusals alone."""
    source = pl.DataFrame([pl.Series("v", [GOOD.get(name, "a")])])

    checked = Contract.of(create_model("Row", v=(CONSTRUCTS[name][0], ...))).check(source)

    assert checked.rejected == []
    assert checked.good.height == 1
