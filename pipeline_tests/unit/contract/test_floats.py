"""A float takes a number whose digits a double keeps, however it comes, and no other."""

import random
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, strategies as st
from pydantic import create_model

from rowledger.contract import settle_suspects
from rowledger.contract.check import Contract
from rowledger.contract.sql_types import Real
from rowledger.sources.ndjson import NdjsonFiles
from rowledger.spec.marked_types import DYNAMIC
from rowledger.spec.partition import Partition
from rowledger.spec.source import SourceContext

INTEGER = "v: an integer beyond 2^53 is not exact in double precision"
DIGITS = "v: a decimal with more digits than double precision holds"

KEPT = [
    ("9007199254740992", 9007199254740992.0),
    ("0.30000000000000004", 0.30000000000000004),
    ("1.000000000000000056e-01", 0.1),  # as numpy prints 0.1
    ("0.1000000000000000055511151231257827", 0.1),
    ("1234567.1234567892", 1234567.1234567892),
    ("1e23", 1e23),
    ("-0.0", -0.0),
]
LOST = [
    ("9007199254740993", INTEGER),
    ("-9007199254740993", INTEGER),
    ("12345678901234567890.5", DIGITS),
    ("3.14159265358979323846", DIGITS),
    ("123456789012345.123456789012345", DIGITS),
]


def check(annotation: Any, values: list[Any], dtype: pl.DataType | None = None) -> tuple[list[Any], list[str]]:
    model = create_model("Row", v=(annotation, ...))
    checked = Contract.of(model).check(pl.DataFrame([pl.Series("v", values, dtype=dtype)]))
    return checked.good["v"].to_list(), [letter.reason for letter in checked.rejected]


def number(text: str) -> dict[str, str]:
    return {DYNAMIC.fields[0].name: text}


@pytest.mark.parametrize("annotation", [float, float | None, int | float])
def test_a_text_is_read_only_if_a_double_keeps_its_digits(annotation: Any) -> None:
    good, reasons = check(annotation, [text for text, _ in [*KEPT, *LOST]])

    assert good == [value for _, value in KEPT]
    assert reasons == [reason for _, reason in LOST]


def test_texts_in_lists_are_read_as_texts_alone() -> None:
    good, reasons = check(list[float], [[text] for text, _ in [*KEPT, *LOST]])

    assert good == [[value] for _, value in KEPT]
    assert reasons == [reason for _, reason in LOST]


def test_numbers_of_json_are_read_as_texts_are() -> None:
    good, reasons = check(float, [number(text) for text, _ in [*KEPT, *LOST]], DYNAMIC)

    assert good == [value for _, value in KEPT]
    assert reasons == [reason for _, reason in LOST]


def test_decimals_are_read_as_texts_are() -> None:
    good, reasons = check(float, [Decimal("0.100000000000000005551"), Decimal("3.14159265358979323846")])

    assert good == [0.1]
    assert reasons == [DIGITS]


def test_a_real_takes_no_text_that_four_bytes_do_not_hold() -> None:
    assert check(Real, ["0.5", "0.1", "9007199254740993", "16777217"]) == (
        [0.5],
        ["v: is not exact in real", INTEGER, "v: is not exact in real"],
    )


@pytest.mark.parametrize("exact", [False, True])
def test_ndjson_keeps_the_digits_whether_or_not_another_column_wants_them(tmp_path: Path, *, exact: bool) -> None:
    lines = [f'{{"v": {text}}}\n' for text, _ in [*KEPT, *LOST]]
    (tmp_path / "t.ndjson").write_text("".join(lines))
    source = NdjsonFiles(path="{landing}/t.ndjson")
    scope = SourceContext(tmp_path, tmp_path / "spool", 1_000, columns=("v",), exact_numbers=exact)
    scope.spool_dir.mkdir()
    (descriptor,) = source.chunks(Partition(key="all"), scope)

    checked = Contract.of(create_model("Row", v=(float, ...))).check(source.read(descriptor))

    assert checked.good["v"].to_list() == [value for _, value in KEPT]
    assert [letter.reason for letter in checked.rejected] == [reason for _, reason in LOST]


def test_ndjson_fractions_are_doubles_where_those_keep_their_digits(tmp_path: Path) -> None:
    (tmp_path / "t.ndjson").write_text('{"v": 0.30000000000000004, "w": 1e-7}\n{"v": 2, "w": 1.5}\n')
    source = NdjsonFiles(path="{landing}/t.ndjson")
    scope = SourceContext(tmp_path, tmp_path / "spool", 1_000, columns=("v", "w"), exact_numbers=False)
    scope.spool_dir.mkdir()
    (descriptor,) = source.chunks(Partition(key="all"), scope)

    assert source.read(descriptor).rows() == [(0.30000000000000004, 1e-7), (2.0, 1.5)]


def _verdict(value: object) -> tuple[object, str | None]:
    """What pydantic and the rules for silent conversions make of one value alone."""
    (rule,) = Contract.of(create_model("Row", v=(float, ...))).rules
    found = settle_suspects.judge(rule, rule.column.type, value)
    return found.value, found.reason


def _told(good: list[Any], reasons: list[str], verdicts: list[tuple[object, str | None]]) -> None:
    assert list(map(repr, good)) == [repr(value) for value, reason in verdicts if reason is None]
    assert reasons == [f"v: {reason}" for _, reason in verdicts if reason is not None]


_FORMS = ("{!r}", "{:.17g}", "{:e}", "{:.20e}", "{:.15g}", "{:.3f}", "{:.17f}", "{:.16E}")


@given(st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(_FORMS)), min_size=1))
def test_a_text_in_a_column_is_judged_as_the_text_alone(written: list[tuple[float, str]]) -> None:
    texts = [form.format(number) for number, form in written]
    _told(*check(float, texts, pl.String()), [_verdict(text) for text in texts])


@given(st.lists(st.integers(-(10**37), 10**37), min_size=1), st.integers(0, 38))
def test_a_decimal_in_a_column_is_judged_as_the_decimal_alone(digits: list[int], scale: int) -> None:
    decimals = [Decimal(number).scaleb(-scale, Context(prec=60)) for number in digits]
    _told(*check(float, decimals, pl.Decimal(38, scale)), [_verdict(decimal) for decimal in decimals])


def test_the_digits_of_doubles_are_read_in_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [random.Random(seed).gauss(0, 10.0**exponent) for seed, exponent in enumerate(range(-20, 15))]
    monkeypatch.setattr(settle_suspects, "judge", None)  # which takes a hundred times as long
    assert check(float, list(map(repr, numbers)))[0] == numbers
    decimals = [number for number in map(repr, numbers) if "e" not in number]
    assert check(float, list(map(Decimal, decimals)), pl.Decimal(38, 20))[0] == list(map(float, decimals))
