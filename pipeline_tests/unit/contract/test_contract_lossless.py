"""Values that a lax reading would change unseen, at any depth and on both ways through a contract: refused, never stored."""

from dataclasses import replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model

from pipeline_tests.support.contract_checks import as_json, assert_refused, both_ways
from rowledger.contract.check import Contract
from rowledger.contract.sql_types import pg_type
from rowledger.spec.column import ColumnType, TypeName

BEYOND_DOUBLE = "is beyond what double precision holds"
NOT_FINITE = "holds NaN or an infinity, which would become null in JSON"


class Measure(BaseModel):
    number: float | None = None
    note: str = "none"


class AsText(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")
    number: float | None
    note: str | None = None


@pytest.mark.parametrize("text", ["1.00000000000000000001", "1e-400", "0.9999999999999999999999"])
def test_a_decimal_is_true_or_false_only_if_it_is_1_or_0(text: str) -> None:
    assert_refused(bool, as_json(text), "a decimal other than 0 and 1 is not taken for a boolean")
    for checked in both_ways(bool, as_json("1.0", "0")):
        assert checked.good["v"].to_list() == [True, False]


class Attached(BaseModel):
    content: bytes | None = None


def test_bytes_inside_of_values_of_several_types_are_bytes_for_the_fields_that_take_them() -> None:
    for annotation, text, expected in (
        (list[bytes], '[{"base64": "/w=="}, {"base64": ""}]', [b"\xff", b""]),
        (dict[str, bytes], '{"k": {"base64": "YQ=="}}', '{"k":"a"}'),
        (Attached, '{"content": {"base64": "YQ=="}}', '{"content":"a"}'),
        (list[Attached], '[{"content": {"base64": "YQ=="}}, {}]', '[{"content":"a"},{"content":null}]'),
        (dict[str, Any], '{"k": {"base64": "YQ=="}}', '{"k":{"base64":"YQ=="}}'),  # as the document has it
    ):
        for checked in both_ways(annotation, as_json(text)):
            assert checked.rejected == []
            (made,) = checked.good["v"].to_list()
            assert (made.replace(" ", "") if isinstance(made, str) else made) == expected


@pytest.mark.parametrize("wrapped", ["%s", '{"a": [%s]}', "[" * 300 + "%s" + "]" * 300])
def test_a_text_for_jsonb_with_a_key_that_comes_twice_is_refused(wrapped: str) -> None:
    twice, once = wrapped % '{"k": 1, "l": 2, "k": 3}', wrapped % '{"k": 1, "l": {"k": 3}}'
    for more in (Field(), AfterValidator(str)):
        field = Annotated[str, pg_type("jsonb"), more]
        assert_refused(field, [twice], "is JSON that has a key twice")
        for checked in both_ways(field, [once]):
            assert checked.good["v"].to_list() == [once]
    for checked in both_ways(Annotated[str, pg_type("json")], [twice]):
        assert checked.good["v"].to_list() == [twice]


@pytest.mark.parametrize("text", ["1e400", "-1E+400", " 1e-400", "2e-324", "9" * 400, "0." + "0" * 400 + "1"])
@pytest.mark.parametrize(
    "annotation", [float, float | None, list[float], float | int, Annotated[float, AfterValidator(abs)]]
)
def test_text_beyond_double_precision_is_neither_an_infinity_nor_zero(annotation: Any, text: str) -> None:
    assert_refused(annotation, [[text]] if annotation == list[float] else [text], BEYOND_DOUBLE)


@pytest.mark.parametrize(
    ("annotation", "json_text"),
    [
        (float, "1e400"), (float, "-1e-400"), (list[float], "[1, 1e400]"), (dict[str, float], '{"a": "1e-400"}'),
        (Measure, '{"number": 1e400}'), (list[Measure], '[{"number": "1e400"}]'), (dict[str, float], '{"a": 1e400}'),
    ],
)  # fmt: skip
def test_json_beyond_double_precision_is_refused_at_any_depth(annotation: Any, json_text: str) -> None:
    assert_refused(annotation, as_json(json_text), BEYOND_DOUBLE)


def test_a_reason_is_given_once_whichever_way_it_was_found() -> None:
    for checked in both_ways(list[dict[str, float]], as_json('[{"a": "1e400"}]')):
        assert checked.rejected[0].reason.count(BEYOND_DOUBLE) == 1
    for checked in both_ways(list[Measure], as_json('[{"number": 1e400}]')):
        assert checked.rejected[0].reason.count(BEYOND_DOUBLE) == 1


def test_texts_that_name_an_infinity_or_a_zero_are_what_they_say() -> None:
    for checked in both_ways(float, ["inf", "-Infinity", "0e-500", "0.000", "1e308", "5e-324"]):
        assert checked.good["v"].to_list() == [float("inf"), -float("inf"), 0.0, 0.0, 1e308, 5e-324]


def test_a_zero_is_a_zero_whatever_its_exponent() -> None:
    annotation = Annotated[Decimal, Field(max_digits=7, decimal_places=2)]
    for checked in both_ways(annotation, ["0E100", "-0", "0.00"]):
        assert checked.good["v"].to_list() == [Decimal(0), Decimal(0), Decimal(0)]


@pytest.mark.parametrize("note", ["NaN", "Infinity", '"NaN', "null"])
def test_no_text_beside_it_hides_a_number_that_would_become_null(note: str) -> None:
    assert_refused(Measure, [{"number": float("nan"), "note": note}], NOT_FINITE)
    assert_refused(dict[str, Any], [{"number": float("inf"), "note": note}], NOT_FINITE)


def test_a_model_that_writes_infinities_as_text_keeps_them() -> None:
    for checked in both_ways(AsText, as_json('{"number": "inf", "note": null}')):
        assert checked.good["v"].to_list() == ['{"number":"Infinity","note":null}']


@pytest.mark.parametrize(
    ("annotation", "text"), [(date, "01.03.2024"), (date, "2024.03.01"), (datetime, "1.3.24"), (time, "12.30.00")]
)
def test_digits_between_dots_are_not_called_a_number(annotation: Any, text: str) -> None:
    assert_refused(annotation, [text], "Input should be")
    assert_refused(annotation, ["1.5", "-.5", "12.", "1e3"], "a bare number is not taken for")


@pytest.mark.parametrize(
    "annotation", [str, Any, list[str], list[Any], dict[str, Any], dict[str, str], dict[str, int], list[dict[str, str]]]
)
def test_half_a_surrogate_pair_is_stored_nowhere(annotation: Any) -> None:
    for json_text in (r'"\ud800"', r'["a\uDFFF"]', r'{"\ud800": "1"}', r'{"a": "\ud83d"}', r'[{"\ud800x": "1"}]'):
        for checked in both_ways(annotation, as_json(json_text)):
            assert [letter.row_no for letter in checked.rejected] == [0]
    for checked in both_ways(dict[str, Any], as_json(r'{"\ud83d\ude00": "\ud83d\ude00\ufffd"}')):
        assert checked.good["v"].to_list() == ['{"😀":"😀\ufffd"}']


def test_half_a_surrogate_pair_in_the_key_of_a_dict_is_found_within_a_tuple() -> None:
    key = Annotated[tuple[str, ...], BeforeValidator(lambda text: tuple(text.split(",")))]

    for checked in both_ways(dict[key, int], as_json(r'{"x\ud800,y": 1}', '{"x,y": 1}')):
        assert [letter.row_no for letter in checked.rejected] == [0]


@pytest.mark.parametrize("annotation", [Any, object, dict[str, Any] | Any])
@pytest.mark.parametrize(
    "text", ['{"k": 1, "k": 2}', *("[" * depth + "]" * depth for depth in (300, 400, 600, 1_200, 5_000))]
)
def test_a_document_that_cannot_be_read_without_loss_is_a_dead_letter_behind_a_validator_too(
    annotation: Any, text: str
) -> None:
    for wrapped in (annotation, Annotated[annotation, AfterValidator(lambda value: value)]):
        for checked in both_ways(wrapped, as_json('{"ok": 1}', text)):
            assert [letter.row_no for letter in checked.rejected] == [1]


def test_a_document_of_two_hundred_levels_is_kept() -> None:
    text = "[" * 200 + "]" * 200
    for wrapped in (Any, Annotated[Any, AfterValidator(lambda value: value)]):
        for checked in both_ways(wrapped, as_json(text)):
            assert checked.good["v"].to_list() == [text]


WIDE = ColumnType(TypeName.NUMERIC, precision=30, scale=10)
FIVE_DIGITS = Annotated[Decimal, Field(max_digits=5, decimal_places=2)]


@pytest.mark.parametrize("target", [WIDE, ColumnType(TypeName.NUMERIC), None])
@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (FIVE_DIGITS, [Decimal("1234.5678")]), (FIVE_DIGITS, [Decimal("1.234")]), (FIVE_DIGITS, [1234567]),
        (FIVE_DIGITS, ["12345.6"]), (FIVE_DIGITS, [12345.5]), (list[FIVE_DIGITS], [[Decimal("1.234")]]),
        (Annotated[Decimal, Field(max_digits=5)], ["123456"]), (list[Annotated[Decimal, Field(max_digits=5)]], [["1.23456"]]),
        (Annotated[FIVE_DIGITS, pg_type("numeric")], [Decimal("1.234")]),
    ],
)  # fmt: skip
def test_declared_digits_count_whatever_the_column_would_take(annotation: Any, values: Any, target: Any) -> None:
    if target is not None and isinstance(values[0], list):
        target = replace(target, array=True)
    contract = Contract.of(create_model("Row", v=(annotation, ...)))
    for way in (contract, replace(contract, row_by_row="the test asks for it")):
        checked = way.check(pl.DataFrame({"v": values}), types={} if target is None else {"v": target})
        assert checked.good.height == 0
        assert "Decimal input should have no more than" in checked.rejected[0].reason
