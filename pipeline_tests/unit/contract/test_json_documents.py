"""Documents keep all digits of their numbers and all values of their keys, whichever way they come."""

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel, ConfigDict, Json, create_model, field_validator

from rowledger.contract.check import Contract
from rowledger.contract.checked import Checked
from rowledger.contract.document_numbers import sorted_json
from rowledger.spec.marked_types import DYNAMIC

LONG = "12345678901234567890.5"


class Item(BaseModel):
    price: Decimal
    weight: float = 0.0
    count: int = 0
    sold: date | None = None
    note: Any = None


class StrictItem(Item):
    model_config = ConfigDict(strict=True)


class Tree(BaseModel):
    value: Any = None
    text: Json[Any] = None
    children: list["Tree"] = []


class Watched(BaseModel):
    """A model that goes row by row."""

    v: Json[Any]
    item: Json[Item] | None = None

    @field_validator("v")
    @classmethod
    def _as_it_is(cls, value: object) -> object:
        return value


def check(annotation: Any, values: list[Any], dtype: pl.DataType | None = None) -> Checked:
    model = create_model("Row", v=(annotation, ...))
    return Contract.of(model).check(pl.DataFrame([pl.Series("v", values, dtype=dtype)]))


def good(annotation: Any, values: list[Any], dtype: pl.DataType | None = None) -> list[str]:
    checked = check(annotation, values, dtype)
    assert not checked.rejected
    written: list[str] = checked.good["v"].to_list()
    return written


def reason(annotation: Any, value: Any, dtype: pl.DataType | None = None) -> str:
    (letter,) = check(annotation, [value], dtype).rejected
    return letter.reason.removeprefix("v: ")


@pytest.mark.parametrize(
    ("annotation", "text", "written"),
    [
        (Json[Any], LONG, LONG),
        (Json, f"[0.1, {LONG}]", f"[0.1, {LONG}]"),
        (Json[Any] | None, f'{{"n": {LONG}}}', f'{{"n": {LONG}}}'),
        (Json[Any], '{"a": 1e400}', '{"a": 1e400}'),
        (Json[Any], "1e-400", "1e-400"),
        (Json[Any], "0.30000000000000004", "0.30000000000000004"),
        (Json[Any], "9" * 30, "9" * 30),
        (Json[dict[str, Any]], f'{{"n": {LONG}, "s": "{LONG}"}}', f'{{"n": {LONG}, "s": "{LONG}"}}'),
        (Json[list[Decimal]], f"[{LONG}, 1.5]", f'["{LONG}","1.5"]'),
        (Json[Tree], f'{{"children": [{{"value": {LONG}, "text": "{LONG}"}}]}}',
         f'{{"value": null, "text": null, "children": [{{"value": {LONG}, "text": {LONG}, "children": []}}]}}'),
    ],
)  # fmt: skip
def test_a_json_text_keeps_all_digits(annotation: Any, text: str, written: str) -> None:
    assert good(annotation, [text]) == [written]


def test_a_decimal_field_of_a_json_text_keeps_all_digits() -> None:
    text = f'{{"price": {LONG}, "note": {LONG}, "sold": "2024-02-29"}}'

    assert good(Json[Item], [text]) == [
        f'{{"price": "{LONG}", "weight": 0.0, "count": 0, "sold": "2024-02-29", "note": {LONG}}}'
    ]


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        (Json[Any], '{"k": 1, "k": 2}', "is JSON that has a key twice"),
        (Json, '[{"a": {"k": 1, "k": 2}}]', "is JSON that has a key twice"),
        (Json[Item], '{"price": 1, "price": 2}', "is JSON that has a key twice"),
        (list[Json[Any]], ['{"k": 1, "k": 2}'], "0: is JSON that has a key twice"),
        (Json[float], "9007199254740993", "an integer beyond 2^53 is not exact in double precision"),
        (Json[float], LONG, "a decimal with more digits than double precision holds"),
        (Json[Item], '{"price": 1, "count": true}', "a boolean is not taken for a integer"),
        (Json[Item], '{"price": 1, "sold": "86400"}', "a bare number is not taken for a date"),
        (Json[Any], "NaN", "holds NaN or an infinity, which would become null in JSON"),
        (Json[Any], r'"\ud800"', "has half a surrogate pair, which is no character"),
        (Json[Any], r'"\u0000"', "has a NUL character, which PostgreSQL's text cannot hold"),
        (Json[Any], "{", "Invalid JSON [json_invalid]"),
        (Json[StrictItem], f'{{"price": {LONG}, "sold": "2024-02-29"}}',
         "has a number of more digits than a strict model is given"),
    ],
)  # fmt: skip
def test_a_json_text_that_would_lose_something_is_refused(annotation: Any, text: Any, expected: str) -> None:
    assert reason(annotation, text) == expected


def test_a_json_text_of_a_model_with_validators_keeps_all_digits() -> None:
    rows = {
        "v": [LONG, '{"k": 1, "k": 2}', "1"],
        "item": [f'{{"price": {LONG}, "note": {LONG}}}', None, f'{{"price": 1, "weight": {LONG}}}'],
    }
    checked = Contract.of(Watched).check(pl.DataFrame(rows))

    item = f'{{"price": "{LONG}", "weight": 0.0, "count": 0, "sold": null, "note": {LONG}}}'
    assert checked.good.rows() == [(LONG, item)]
    assert [letter.reason for letter in checked.rejected] == [
        "v: is JSON that has a key twice",
        "item: a decimal with more digits than double precision holds",
    ]


def dynamic(text: str) -> dict[str, str]:
    return {DYNAMIC.fields[0].name: text}


@pytest.mark.parametrize(
    ("annotation", "value", "dtype", "written"),
    [
        (dict[str, Any], dynamic(f'{{"n": {LONG}}}'), DYNAMIC, f'{{"n": {LONG}}}'),
        (list[Any], dynamic(f'[{LONG}, {{"n": [{LONG}]}}]'), DYNAMIC, f'[{LONG}, {{"n": [{LONG}]}}]'),
        (Any, dynamic(f'{{"n": {LONG}}}'), DYNAMIC, f'{{"n": {LONG}}}'),
        (Any, Decimal("1.50"), None, "1.50"),
        (dict[str, Any], {"n": Decimal("1.50")}, None, '{"n": 1.50}'),
        (dict[str, Any], {"n": [Decimal(LONG)], "s": LONG}, None, f'{{"n": [{LONG}], "s": "{LONG}"}}'),
        (Any, [Decimal("1.50")], None, "[1.50]"),
        (Item, {"price": Decimal("1.50"), "note": Decimal("2.50")}, None,
         '{"price": "1.50", "weight": 0.0, "count": 0, "sold": null, "note": 2.50}'),
    ],
)  # fmt: skip
def test_a_number_stays_a_number_where_the_model_takes_anything(
    annotation: Any, value: Any, dtype: pl.DataType | None, written: str
) -> None:
    assert good(annotation, [value], dtype) == [written]


def test_a_document_whose_key_comes_twice_is_refused() -> None:
    assert reason(dict[str, Any], dynamic('{"k": 1, "k": 2}'), DYNAMIC) == "is JSON that has a key twice"


def test_texts_have_one_canonical_form_exactly_if_jsonb_stores_them_alike() -> None:
    alike = ['{"a": 1, "b": [1.10, 2e3, -0.0]}', '{"b":[1.10,2000,0.0],"b":[1.10,2000,0.0],"a":1}']
    others = [
        '{"a": 1, "b": [1.1, 2000, 0.0]}',
        '{"a": "1", "b": [1.10, 2000, 0.0]}',
        '{"a": 1, "b": ["1.10", 2000, 0.0]}',
    ]

    assert len({sorted_json(text) for text in alike}) == 1
    assert len({sorted_json(text) for text in [*alike, *others]}) == 1 + len(others)
