"""Numbers with a decimal comma or separated thousands are read exactly, and no other text is taken for one of them."""

import json
import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import polars as pl
import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel, Field

from rowledger.contract.check import Contract
from rowledger.contract.written_numbers import require_columns_of_numbers, with_plain_numbers
from rowledger.errors import SpecError
from rowledger.spec.marked_types import DYNAMIC
from rowledger.spec.number_format import NumberFormat

COMMA = NumberFormat(",")
GERMAN = NumberFormat(",", ".")
FRENCH = NumberFormat(",", " ")
SWISS = NumberFormat(".", "'")
ENGLISH = NumberFormat(".", ",")


class Measure(BaseModel):
    """A row with a field of each kind of number, and of what is none."""

    count: int
    share: float
    price: Annotated[Decimal, Field(max_digits=38, decimal_places=12)]
    either: int | float | None = None
    label: str = ""


def _prices(written: NumberFormat, *texts: str | None) -> list[Decimal | None]:
    """What a field of decimals reads; None for a refused row."""
    plain = with_plain_numbers(pl.DataFrame({"price": texts}, schema={"price": pl.String}), PRICE.rules, written)
    checked = PRICE.check(plain)
    found: list[Decimal | None] = [None] * len(texts)
    numbers = range(len(texts)) if checked.good_rows is None else checked.good_rows.to_list()
    for number, value in zip(numbers, checked.good["price"].to_list(), strict=True):
        found[number] = value
    return found


class Price(BaseModel):
    price: Annotated[Decimal, Field(max_digits=38, decimal_places=12)] | None


PRICE = Contract.of(Price)


@pytest.mark.parametrize(
    ("written", "text", "number"),
    [
        (COMMA, "1,5", "1.5"), (COMMA, "-0,25", "-0.25"), (COMMA, " 12 ", "12"), (COMMA, "1,5e3", "1500"),
        (COMMA, ",5", "0.5"), (COMMA, "1.5", None), (COMMA, "1.234,5", None), (COMMA, "1,2,3", None), (COMMA, "", None),
        (GERMAN, "1.234,50", "1234.50"), (GERMAN, "1.234", "1234"), (GERMAN, "1.234.567,8", "1234567.8"),
        (GERMAN, "1234,5", "1234.5"), (GERMAN, "+12.345", "12345"), (GERMAN, "1.5", None), (GERMAN, "1.23", None),
        (GERMAN, "0.123", None), (GERMAN, "1.2345", None), (GERMAN, "12.34.567", None), (GERMAN, "1,234.5", None),
        (GERMAN, "1234.567", None), (GERMAN, "1,234,567", None),
        (FRENCH, "1 234,5", "1234.5"), (FRENCH, "1\u202f234\u00a0567,5", "1234567.5"), (FRENCH, "12 34", None),
        (FRENCH, " 1 234 ", "1234"), (FRENCH, "1.5", None),
        (SWISS, "1'234.5", "1234.5"), (SWISS, "1\u2019234\u2019567", "1234567"), (SWISS, "1,5", None), (SWISS, "'1", None),
        (ENGLISH, "1,234.5", "1234.5"), (ENGLISH, "1.5", "1.5"), (ENGLISH, "1,5", None), (ENGLISH, "1.234,5", None),
    ],
)  # fmt: skip
def test_a_number_is_read_as_it_is_written_or_not_at_all(written: NumberFormat, text: str, number: str | None) -> None:
    read = _prices(written, "7", text, "7", None)

    assert read[1] == (None if number is None else Decimal(number))
    assert [read[0], *read[2:]] == [7, 7, None]


@given(
    st.decimals(-(10**20), 10**20, allow_nan=False, allow_infinity=False, places=6),
    st.sampled_from([COMMA, GERMAN, FRENCH, SWISS, ENGLISH]),
)
def test_every_number_that_is_written_so_comes_back_exactly(number: Decimal, written: NumberFormat) -> None:
    text = f"{number:,.6f}" if written.thousands else f"{number:.6f}"
    text = text.translate({ord(","): written.thousands, ord("."): written.decimal})

    assert _prices(written, text) == [number]


@given(st.text(st.sampled_from("0123456789.,' +-e\u00a0")), st.sampled_from([COMMA, GERMAN, FRENCH, SWISS, ENGLISH]))
def test_no_other_text_becomes_a_number(text: str, written: NumberFormat) -> None:
    (read,) = _prices(written, text)
    if read is not None:
        blanks = {" ": " \u00a0\u2007\u2009\u202f", "'": "'\u2019"}.get(
            written.thousands or "", written.thousands or ""
        )
        whole, _, rest = text.strip().partition(written.decimal)
        groups = re.split(f"[{re.escape(blanks)}]", whole.lstrip("+-")) if blanks else [whole.lstrip("+-")]
        assert len(groups) == 1 or (1 <= len(groups[0]) <= 3 and all(re.match(r"\d{3}(e|$)", g) for g in groups[1:]))
        assert not {".", ","} - {written.decimal} & set(rest)


def test_fields_of_every_kind_of_number_are_rewritten_and_others_are_not() -> None:
    row = {"count": "1.000", "share": "0,5", "price": "1.234,50", "either": "2,5", "label": "1.234,50"}
    plain = with_plain_numbers(pl.DataFrame([row]), Contract.of(Measure).rules, GERMAN)

    assert plain.to_dicts() == [
        {"count": "1000", "share": "0.5", "price": "1234.50", "either": "2.5", "label": "1.234,50"}
    ]
    typed = pl.DataFrame({"count": [1], "share": [0.5]})
    assert with_plain_numbers(typed, Contract.of(Measure).rules, GERMAN).equals(typed)


def test_of_a_column_of_several_types_only_texts_are_rewritten() -> None:
    name = DYNAMIC.fields[0].name
    cells = ['"1.234,5"', "1.5", "null", '"x"', "[" * 100_000]
    frame = pl.DataFrame([pl.Series("price", [{name: cell} for cell in cells], dtype=DYNAMIC)])

    plain = with_plain_numbers(frame, PRICE.rules, GERMAN)["price"].struct[0].to_list()

    assert [None if text is None else json.loads(text) for text in plain[:4]] == ["1234.5", 1.5, None, "x"]
    assert plain[4] == cells[4]


@pytest.mark.parametrize("other", [str, date, Any])
def test_a_column_that_is_read_as_a_number_and_as_something_else_is_refused(other: Any) -> None:
    class Twice(BaseModel):
        a: int = Field(alias="x")
        b: other = Field(alias="x")

    class Numbers(BaseModel):
        a: int = Field(alias="x")
        b: float = Field(alias="x")

    with pytest.raises(SpecError, match="fields a and b read the source's column 'x'"):
        require_columns_of_numbers("Twice", Contract.of(Twice).rules)
    require_columns_of_numbers("Numbers", Contract.of(Numbers).rules)
