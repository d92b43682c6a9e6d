"""Models with Python code of their own: what it sees, what it may make of a row, and what is said of its refusals."""

# ruff: noqa: DTZ001, timestamps without a zone are half of what is tested

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    WrapValidator,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from rowledger.contract.cells import python_rows
from rowledger.contract.check import Contract
from rowledger.contract.checked import Checked
from rowledger.errors import SourceError
from rowledger.spec.column import ColumnType, TypeName
from rowledger.spec.marked_types import DYNAMIC
from rowledger.spec.source import ABSENT_PREFIX, FAULT

ENDS_EARLY = "it ends before it starts"


class Stay(BaseModel):
    guest: Annotated[str, Field(max_length=20)]
    start: int
    end: int
    paid: bool = False
    price: Annotated[Decimal, Field(max_digits=6, decimal_places=2)] | None = None

    @field_validator("guest", mode="before")
    @classmethod
    def _trimmed(cls, value: object) -> object:
        return value.strip() if isinstance(value, str) else value

    @field_validator("end")
    @classmethod
    def _later(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("start", value):
            raise ValueError(ENDS_EARLY)
        return value

    @model_validator(mode="after")
    def _known(self) -> "Stay":
        if self.price is not None and self.price > 10:
            raise ValueError(f"{self.guest} stays with price {self.price}")
        return self


def check_one(annotation: Any, values: Any, **options: Any) -> Checked:
    series = values if isinstance(values, pl.Series) else pl.Series(values)
    return Contract.of(create_model("Row", v=(annotation, ...))).check(pl.DataFrame([series.alias("v")]), **options)


def test_validators_see_each_row_and_make_its_values() -> None:
    source = pl.DataFrame(
        {
            "guest": [" Ann ", "Bo", "nobody", None, "x" * 21],
            "start": ["1", "5", "1", "1", "one"],
            "end": [2, 4, 2, 2, 2],
            "price": [1.5, 2.0, 12.25, None, 1.0],
        }
    )

    checked = Contract.of(Stay).check(source)

    assert checked.good.rows() == [("Ann", 1, 2, False, Decimal("1.50"))]
    assert checked.good.schema["price"] == pl.Decimal(6, 2)
    assert [(letter.row_no, letter.column, letter.reason) for letter in checked.rejected] == [
        (1, "end", "end: Value error, it ends before it starts [value_error]"),
        (2, None, "Value error, … stays with price … [value_error]"),
        (3, "guest", "guest: Input should be a valid string [string_type]"),
        (
            4,
            "guest",
            (
                "guest: String should have at most 20 characters [string_too_long]; "
                "start: Input should be a valid integer [int_parsing]"
            ),
        ),
    ]


@pytest.mark.parametrize(
    ("annotation", "series"),
    [
        (Annotated[int, AfterValidator(abs)], pl.Series([True])),
        (Annotated[AwareDatetime, AfterValidator(lambda value: value)], pl.Series([datetime(2013, 1, 1)])),
        (Annotated[date, AfterValidator(lambda value: value)], pl.Series([20130101])),
    ],
)
def test_a_column_that_never_fits_stops_the_chunk_as_it_does_in_columns(annotation: Any, series: pl.Series) -> None:
    with pytest.raises(SourceError, match="which is never taken for a"):
        check_one(annotation, series)


@pytest.mark.parametrize(
    ("annotation", "values", "reason"),
    [
        (Annotated[date, AfterValidator(lambda value: value)], ["1357000000"], "a bare number is not taken for a date"),
        (Annotated[float, AfterValidator(abs)], [2**60], "an integer beyond 2^53 is not exact in double precision"),
        (
            Annotated[datetime, AfterValidator(lambda value: value)],
            pl.Series([1], dtype=pl.Datetime("ns")),
            "has nanoseconds, which a timestamp would lose",
        ),
    ],
)
def test_silent_conversions_are_refused_behind_an_after_validator(annotation: Any, values: Any, reason: str) -> None:
    assert [letter.reason for letter in check_one(annotation, values).rejected] == [f"v: {reason}"]


@pytest.mark.parametrize(
    ("annotation", "values", "made"),
    [
        (Annotated[int, BeforeValidator(int)], [True, False], [1, 0]),
        (Annotated[int, PlainValidator(int)], [1.9], [1]),
        (Annotated[int, WrapValidator(lambda value, _next: int(value))], [True], [1]),
        (Annotated[date, BeforeValidator(lambda value: date(value, 1, 1))], [2024], [date(2024, 1, 1)]),
        (Annotated[int | None, BeforeValidator(lambda value: None if value == "" else value)], ["", "5"], [None, 5]),
    ],
)
def test_a_validator_that_takes_charge_of_a_value_decides(annotation: Any, values: Any, made: Any) -> None:
    checked = check_one(annotation, values)

    assert checked.rejected == []
    assert checked.good["v"].to_list() == made


@pytest.mark.parametrize(
    ("annotation", "validator", "value"),
    [
        (int, str, 5), (int, float, 5), (int, bool, 5), (str, len, "x"), (float, lambda _: 2**60, 1.5),
        (int, lambda _: 2**70, 5),
        (int, lambda _: None, 5), (str, lambda _: "a\0", "x"),
        (datetime, lambda value: value.astimezone(), datetime(2024, 1, 1)),
        (date, lambda _: datetime(2024, 1, 1, 5), date(2024, 1, 1)),
        (list[int], str, [1]), (list[int], lambda _: [1, "2"], [1]),
        (Any, lambda _: object(), {"a": 1}), (Decimal, lambda _: Decimal("NaN"), 1),
    ],
)  # fmt: skip
def test_what_a_validator_makes_goes_exactly_into_the_column_or_is_refused(
    annotation: Any, validator: Any, value: Any
) -> None:
    types = {"v": ColumnType(TypeName.NUMERIC, precision=5, scale=2)} if annotation is Decimal else {}

    checked = check_one(Annotated[annotation, AfterValidator(validator)], [value], types=types)

    assert len(checked.rejected) == 1
    assert checked.good.height == 0


def _asserting(value: str) -> str:
    if value != "other":
        raise AssertionError("another word is wanted")
    return value


def test_reasons_have_a_validator_s_own_words_and_none_of_the_row() -> None:
    def formatted(value: str) -> str:
        message = f"{value!r} has {len(value)} letters, which is too many"
        raise ValueError(message)

    def parsed(value: str) -> str:
        return str(int(value))

    def custom(value: str) -> str:
        raise PydanticCustomError("no_word", "{word} is no word of {value}", {"word": value, "value": value.upper()})

    def broken(value: str) -> str:
        return {"a": 1}[value]  # type: ignore[return-value]

    reasons = {}
    for function in (formatted, parsed, custom, broken, _asserting):
        (letter,) = check_one(Annotated[str, AfterValidator(function)], ["zqcanary"]).rejected
        reasons[function.__name__] = letter.reason
        assert "canary" not in letter.reason.lower()

    assert reasons["formatted"] == "v: Value error, … has … letters, which is too many [value_error]"
    line = parsed.__code__.co_firstlineno + 1
    assert reasons["parsed"] == f"v: Value error in parsed, test_contract_rows.py line {line} [value_error]"
    assert reasons["custom"] == "v: … is no word of … [no_word]"
    assert reasons["broken"] == "validating it raised KeyError"
    assert reasons["_asserting"].startswith("v: Assertion failed, another word is wanted")


CITIES = ["Zq Canary Town", "other"]


class City(StrEnum):
    CANARY = "zqcanary"


@pytest.mark.parametrize("value", ["Zq Canary Town", City.CANARY.value])
def test_a_value_that_the_module_of_its_validator_has_too_is_not_shown(value: str) -> None:
    def refused(value: str) -> str:
        raise ValueError(value)

    (letter,) = check_one(Annotated[str, AfterValidator(refused)], [value]).rejected

    line = refused.__code__.co_firstlineno + 1
    assert letter.reason == f"v: Value error in refused, test_contract_rows.py line {line} [value_error]"


def test_a_method_of_a_builtin_type_validates_as_any_function_does() -> None:
    checked = check_one(Annotated[str, Field(max_length=3), AfterValidator(str.strip)], [" a ", "  b  "])

    assert checked.good["v"].to_list() == ["a"]
    assert [letter.reason for letter in checked.rejected] == [
        "v: String should have at most 3 characters [string_too_long]"
    ]


def test_a_validator_whose_source_is_not_there_is_named() -> None:
    names: dict[str, Any] = {"__name__": "made.up"}
    exec("def unseen(value):\n    raise ValueError(f'{value} is not wanted')", names)

    (letter,) = check_one(Annotated[str, AfterValidator(names["unseen"])], ["zqcanary"]).rejected

    assert letter.reason == "v: Value error in unseen, <string> line 2 [value_error]"


def _shouted(value: str) -> str:
    raise PydanticCustomError("shouted", f"odd value {value.upper()}")  # type: ignore[arg-type]


def _named_as_pydantic_s_own(value: str) -> str:
    raise PydanticCustomError("int_type", f"odd value {value[::-1]}")  # type: ignore[arg-type]


def _named_as_an_exception(value: str) -> str:
    raise PydanticCustomError("value_error", f"odd value {value.title()}")  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [_shouted, _named_as_pydantic_s_own, _named_as_an_exception])
def test_an_error_of_a_validator_s_own_type_says_no_more_of_the_row_than_its_code(function: Any) -> None:
    for validator in (function, partial(function)):
        (letter,) = check_one(Annotated[str, AfterValidator(validator)], ["zqcanary"]).rejected
        assert letter.reason.startswith("v: odd value … [")


def test_a_key_of_a_mapping_is_a_value_of_the_row() -> None:
    model = create_model("Row", v=(dict[str, int], ...), w=(Annotated[int, AfterValidator(abs)], ...))
    source = pl.DataFrame({"v": [{"zqcanary": "x"}], "w": [1]})

    (letter,) = Contract.of(model).check(source).rejected

    assert letter.reason == "v: …: Input should be a valid integer [int_parsing]"


def test_a_validator_that_gives_no_row_refuses_it() -> None:
    class Other(BaseModel):
        a: int

        @model_validator(mode="wrap")
        @classmethod
        def _replaced(cls, _value: Any, _next: Any) -> Any:
            return {"a": 1}

    (letter,) = Contract.of(Other).check(pl.DataFrame({"a": [1]})).rejected

    assert letter.reason == "a validator made something of it that is no Other"


def test_fields_that_a_row_does_not_have_take_pydantic_s_defaults() -> None:
    source = pl.DataFrame(
        {"guest": ["a", "b"], "start": [1, 1], "end": [2, None], ABSENT_PREFIX + "end": [False, True]}
    )

    checked = Contract.of(Stay).check(source)

    assert checked.good.rows() == [("a", 1, 2, False, None)]
    assert [letter.reason for letter in checked.rejected] == [
        "end: Field required [missing]: give the field a default if the source may lack the column"
    ]


def test_python_rows_are_what_pydantic_takes() -> None:
    dynamic = pl.Series("d", [{DYNAMIC.fields[0].name: '{"x": 1}'}, None], dtype=DYNAMIC)
    source = pl.DataFrame(
        {"a": [1, None], ABSENT_PREFIX + "a": [False, True], FAULT: [None, None], "c": ["x", None]},
        schema_overrides={"c": pl.Categorical},
    ).with_columns(dynamic)

    assert list(python_rows(source, ())) == [{"a": 1, "c": "x", "d": {"x": 1}}, {"c": None, "d": None}]


def test_a_message_of_any_length_is_held_against_sentences_with_several_places() -> None:
    def refused(value: str) -> str:
        if not value:  # the words of this sentence come again and again in the message of the other
            raise ValueError(f"a {value} a {value} a {value} a {value} is too short")
        raise ValueError(f"a {value} cannot be read")

    (letter,) = check_one(Annotated[str, AfterValidator(refused)], ["a zqcanary a " * 20_000]).rejected

    assert letter.reason == "v: Value error, a … cannot be read [value_error]"


@pytest.mark.parametrize("message", ["a row is bad zqcanary a row is bad", "the first half is the second"])
def test_a_message_that_only_begins_and_ends_like_a_sentence_is_not_shown(message: str) -> None:
    def refused(value: str) -> str:
        if not value:
            raise ValueError("a row is bad")
        if value == "other":
            raise ValueError(f"the first half is {value}half is the second")
        raise ValueError(value)

    (letter,) = check_one(Annotated[str, AfterValidator(refused)], [message]).rejected

    line = refused.__code__.co_firstlineno + 5
    assert letter.reason == f"v: Value error in refused, test_contract_rows.py line {line} [value_error]"
