"""Lists, sets and documents in columns: what stands out at any depth is found, and named with its place."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

import polars as pl
import pytest
from pydantic import BaseModel, ConfigDict, Field, NaiveDatetime, create_model
from typing_extensions import TypedDict

from rowledger.contract.check import Contract
from rowledger.contract.checked import Checked
from rowledger.contract.sql_types import varchar


class Place(BaseModel):
    name: Annotated[str, Field(max_length=3)]
    floor: int | None


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Pair(TypedDict):
    a: int


HERE = {"name": "a", "floor": None}
LONG = {"name": "long", "floor": 1}
AT_MOST_ONE = Annotated[list[int], Field(max_length=1)]
AT_LEAST_ONE = Annotated[list[int], Field(min_length=1)]


def both_ways(annotation: Any, values: Any, **config: Any) -> list[Checked]:
    """In columns, and row by row."""
    series = values if isinstance(values, pl.Series) else pl.Series(values)
    contract = Contract.of(create_model("Row", __config__=ConfigDict(**config), v=(annotation, ...)))
    frame = pl.DataFrame([series.alias("v")])
    return [contract.check(frame), replace(contract, row_by_row="the test asks for it").check(frame)]


@pytest.mark.parametrize(
    ("annotation", "values", "reason"),
    [
        (list[int], [[1, None], [1]], "1: Input should be a valid integer [int_type]"),
        (list[Place], [[HERE, None], [HERE]], "1: Input should be a valid dictionary or instance of Place [model_type]"),
        (Place, [{"name": None, "floor": 1}, HERE], "name: Input should be a valid string [string_type]"),
        (list[Place], [[LONG], [HERE]], "0.name: String should have at most 3 characters [string_too_long]"),
        (AT_MOST_ONE, [[1, 2], [1]], "List should have at most 1 item after validation, not 2 [too_long]"),
        (AT_LEAST_ONE, [[], [1]], "List should have at least 1 item after validation, not 0 [too_short]"),
        (list[Annotated[str, varchar(2)]], [["abc"], ["é€"]], "0: String should have at most 2 characters [string_too_long]"),
        (list[Literal["a"]], [["b"], ["a"]], "0: Input should be 'a' [literal_error]"),
        (list[bool], [["maybe"], ["yes"]], "0: Input should be a valid boolean [bool_parsing]"),
        (
            Annotated[Cat | Dog, Field(discriminator="kind")],
            [{"kind": "zqcanary"}, {"kind": "cat"}],
            "Input tag does not match any of the expected tags: 'cat', 'dog' [union_tag_invalid]",
        ),
        (
            Pair, [{"a": 1.5}, {"a": 1.0}],
            "a: Input should be a valid integer, got a number with a fractional part [int_from_float]",
        ),
    ],
)  # fmt: skip
def test_the_place_of_what_is_wrong_is_named(annotation: Any, values: list[Any], reason: str) -> None:
    for checked in both_ways(annotation, values):
        assert [(letter.row_no, letter.reason) for letter in checked.rejected] == [(0, f"v: {reason}")]
        assert checked.good.height == 1


@pytest.mark.parametrize(
    ("annotation", "ticks", "plain", "dtype"),
    [
        (list[datetime], [[1_000], [1_001]], pl.List(pl.Int64), pl.List(pl.Datetime("ns"))),
        (tuple[datetime, ...], [[1_000], [1_001]], pl.Array(pl.Int64, 1), pl.Array(pl.Datetime("ns"), 1)),
        (datetime | NaiveDatetime, [1_000, 1_001], pl.Int64, pl.Datetime("ns")),
        (
            dict[str, datetime],
            [{"a": 1_000}, {"a": 1_001}],
            pl.Struct({"a": pl.Int64}),
            pl.Struct({"a": pl.Datetime("ns")}),
        ),
        (Any, [[1_000], [1_001]], pl.List(pl.Int64), pl.List(pl.Datetime("ns"))),
    ],
)
def test_nanoseconds_are_lost_at_no_depth(annotation: Any, ticks: list[Any], plain: Any, dtype: Any) -> None:
    for checked in both_ways(annotation, pl.Series(ticks, dtype=plain).cast(dtype)):
        assert [(letter.row_no, letter.reason) for letter in checked.rejected] == [
            (1, "v: has nanoseconds, which a timestamp would lose")
        ]


def test_a_set_is_written_in_an_order_of_its_own() -> None:
    words = [f"word {number}" for number in range(9, 0, -1)]
    for checked in both_ways(set[str], [[*words, *words]]):
        assert checked.good["v"].to_list() == [sorted(words)]


def test_documents_are_written_as_pydantic_writes_them() -> None:
    class Whole(BaseModel):
        text: str
        flag: bool
        numbers: list[float | None]
        place: Place = Field(alias="Ort")
        more: list[Place]

    numbers = [0.1, 1e22, 5e-324, -0.0, None, 1e16]
    values = [
        {"text": 'é "\\\n\t\x7f\u2028💧</>', "flag": True, "numbers": numbers, "Ort": HERE, "more": [HERE]},
        {"text": "", "flag": False, "numbers": [], "Ort": {"name": "b", "floor": -5}, "more": []},
    ]  # fmt: skip
    for checked in both_ways(Whole, values):
        assert checked.good["v"].to_list() == [Whole.model_validate(value).model_dump_json() for value in values]


def test_what_is_inside_follows_the_model_s_settings() -> None:
    for checked in both_ways(Pair, [{"a": 1.0}], strict=True):
        assert [letter.row_no for letter in checked.rejected] == [0]
    for checked in both_ways(list[str], [[" A\t", "B"], ["\u3000É"]], str_strip_whitespace=True, str_to_lower=True):
        assert checked.good["v"].to_list() == [["a", "b"], ["é"]]


@pytest.mark.parametrize("text", ["ΑΣ", "ΑΣ Σ", "AʕΣ", "İ", "ß", "ŉ", "ﬀ", "ΐ", "ᾳ", "Ⅷ"])
def test_letters_change_case_as_pydantic_changes_them(text: str) -> None:
    for setting in ("str_to_lower", "str_to_upper"):
        model = create_model("Cased", __config__=ConfigDict(**{setting: True}), v=(str, ...))  # type: ignore[misc]
        for checked in both_ways(str, [text, "a"], **{setting: True}):
            assert checked.good["v"].to_list()[0] == model(v=text).v  # type: ignore[attr-defined]


def test_a_default_stands_as_it_was_declared() -> None:
    model = create_model("Defaults", __config__=ConfigDict(str_to_lower=True), a=(str, ...), b=(str, "ABC"))
    contract = Contract.of(model)
    for way in (contract, replace(contract, row_by_row="the test asks for it")):
        assert way.check(pl.DataFrame({"a": ["ABC"]})).good.rows() == [("abc", "ABC")]


def test_good_documents_and_lists_are_never_handed_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(*_: Any) -> None:
        raise AssertionError("a clean value went to pydantic")

    monkeypatch.setattr("rowledger.contract.settle_suspects.judge", judged)
    model = create_model("Row", d=(Place, ...), l=(list[Place], ...), t=(list[str], ...), a=(Any, ...))
    rows = pl.DataFrame({"d": [HERE] * 50, "l": [[HERE]] * 50, "t": [["a", "b"]] * 50, "a": [{"x": [1, 2]}] * 50})

    checked = Contract.of(model).check(rows)

    assert checked.good.height == 50
    assert json.loads(checked.good["l"][0]) == [HERE]
