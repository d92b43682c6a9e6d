"""The contract's verdicts and values are pydantic's own, but for the silent conversions it declares to refuse."""

# ruff: noqa: DTZ001, timestamps without a zone are half of what is tested

import math
import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Context, Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from typing import Annotated, Any, Literal
from uuid import UUID

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError, create_model

from rowledger.contract.check import Contract
from rowledger.contract.sql_types import Integer, Real, SmallInt, varchar


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


INT64 = st.integers(-(2**63), 2**63 - 1)
NEAR_ZERO = st.integers(-12, 12)
NUMERIC_TEXT = st.one_of(
    INT64.map(str),
    st.integers(-(10**25), 10**25).map(str),
    st.decimals(allow_nan=True, allow_infinity=True, places=None).map(str),
    st.floats().map(repr),
    st.from_regex(r"\A[ +\-0-9_.eEx]{0,7}\Z"),
    NEAR_ZERO.map(str),
    st.sampled_from(
        ["", " 12 ", "1.0", "1.50", "+5", "-0", "007", "1_0", "late", "1e3", "nan", "inf", "٣", "0x10", "1.", ".5"]
    ),
)
FLOATS = st.one_of(
    st.floats(), st.integers(-(2**60), 2**60).map(float), st.decimals(-999, 999, places=2).map(float),
    st.sampled_from([2.0**63, -(2.0**63), 2.0**53, 1e22, 0.1, -0.0, 1.0, 0.5, math.nan, math.inf]),
)  # fmt: skip
NAIVE = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999))
AWARE = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC))
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
CLOCK = st.from_regex(r"\A[0-2][0-9]:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,8})?)?(Z|[+-][0-2][0-9]:?[0-9]{2})?\Z")
DAYS = st.one_of(
    st.dates().map(str),
    st.from_regex(r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]\Z"),
    st.sampled_from(["0000-01-01", "2013-1-1"]),
)
TEMPORAL_TEXT = st.one_of(
    DAYS, CLOCK, NAIVE.map(str), NAIVE.map(datetime.isoformat),
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=OFFSETS).map(datetime.isoformat),
    st.builds("{}{}{}".format, DAYS, st.sampled_from(["T", " ", "t", "_"]), CLOCK),
    st.sampled_from(["", "late", "1357000000", "12.5", "2013-01-01T00:00:00.1234567", "2013-01-01T00:00:00.1234560"]),
    st.sampled_from([" 2013-01-01", "2013-01-01 "]),
)  # fmt: skip
TEXT = st.one_of(
    st.text(max_size=6), st.sampled_from(["AA", "a", "red", "RED", "é€😀", "\x00", "a\n", "1", "2", "true"])
)
BOOL_TEXT = st.sampled_from(["true", "True", "TRUE", "yes", "n", "0", "1", "1.0", "", "maybe", " true", "on", "OFF"])
UUID_TEXT = st.one_of(
    st.uuids().map(str), st.uuids().map(lambda u: u.hex), st.uuids().map(lambda u: f"{{{u}}}"), st.uuids().map(lambda u: u.urn),
    st.uuids().map(lambda u: str(u).upper()), st.sampled_from(["", "zz", "0" * 36]),
)  # fmt: skip


def decimals(digits: int, places: int) -> Any:
    limit = 10**digits - 1
    return st.integers(-limit, limit).map(lambda n: Decimal(n).scaleb(-places))


INT_SOURCES = [
    (pl.Int64, st.one_of(INT64, NEAR_ZERO)), (pl.UInt64, st.integers(0, 2**64 - 1)), (pl.Int8, st.integers(-128, 127)),
    (pl.Float64, FLOATS), (pl.Float32, st.floats(width=32)), (pl.Decimal(20, 3), decimals(20, 3)),
    (pl.Decimal(20, 0), decimals(20, 0)), (pl.String, NUMERIC_TEXT), (pl.Categorical, st.sampled_from(["1", "7", "x"])),
]  # fmt: skip
DECIMAL_SOURCES = [
    *INT_SOURCES, (pl.Decimal(7, 2), decimals(7, 2)), (pl.Decimal(9, 4), decimals(9, 4)), (pl.Decimal(6, 1), decimals(6, 1)),
]  # fmt: skip
TEMPORAL_SOURCES = [(pl.String, TEMPORAL_TEXT)]

CASES: list[tuple[Any, list[tuple[Any, Any]]]] = [
    (int, INT_SOURCES),
    (SmallInt, INT_SOURCES),
    (Annotated[Integer, Field(gt=-5, lt=7)], INT_SOURCES),
    (Annotated[int, Field(ge=-5, le=6)], INT_SOURCES),
    (Annotated[int, Field(multiple_of=3)], INT_SOURCES),
    (Annotated[int, Field(ge=2**70)], INT_SOURCES),
    (float, DECIMAL_SOURCES),
    (Annotated[float, Field(ge=-1, lt=2.5)], DECIMAL_SOURCES),
    (Annotated[float, Field(allow_inf_nan=False)], INT_SOURCES),
    (Real, INT_SOURCES),
    (Decimal, DECIMAL_SOURCES),
    (Annotated[Decimal, Field(max_digits=7, decimal_places=2)], DECIMAL_SOURCES),
    (Annotated[Decimal, Field(max_digits=5, decimal_places=0)], DECIMAL_SOURCES),
    (Annotated[Decimal, Field(max_digits=7, decimal_places=2, gt=-5, le=Decimal("3.125"))], DECIMAL_SOURCES),
    (Annotated[Decimal, Field(max_digits=7, decimal_places=2, multiple_of=Decimal("0.25"))], DECIMAL_SOURCES),
    (Annotated[Decimal, Field(decimal_places=3)], DECIMAL_SOURCES),
    (bool, [(pl.Boolean, st.booleans()), (pl.Int64, st.integers(-1, 2)), (pl.Float64, FLOATS), (pl.String, BOOL_TEXT)]),
    (str, [(pl.String, TEXT), (pl.Binary, st.binary(max_size=6)), (pl.Categorical, TEXT)]),
    (Annotated[str, Field(min_length=2, max_length=3)], [(pl.String, TEXT), (pl.Binary, st.binary(max_size=6))]),
    (Annotated[str, Field(pattern=r"^[A-Z]+$")], [(pl.String, TEXT)]),
    (Annotated[str, varchar(2)], [(pl.String, TEXT)]),
    (Literal["a", "red"], [(pl.String, TEXT), (pl.Categorical, TEXT)]),
    (Literal[1, 2], INT_SOURCES),
    (Colour, [(pl.String, TEXT), (pl.Categorical, TEXT)]),
    (Level, INT_SOURCES),
    (bytes, [(pl.Binary, st.binary(max_size=6)), (pl.String, TEXT)]),
    (Annotated[bytes, Field(max_length=2)], [(pl.Binary, st.binary(max_size=6)), (pl.String, TEXT)]),
    (UUID, [(pl.String, UUID_TEXT), (pl.Binary, st.one_of(st.binary(min_size=16, max_size=16), UUID_TEXT.map(str.encode)))]),
    (date, [*TEMPORAL_SOURCES, (pl.Date, st.dates()), (pl.Datetime("us"), st.one_of(NAIVE, st.dates().map(lambda d: datetime(d.year, d.month, d.day)))), (pl.Datetime("ms"), NAIVE)]),  # noqa: E501
    (Annotated[date, Field(ge=date(2000, 1, 1), lt=date(2020, 1, 1))], [*TEMPORAL_SOURCES, (pl.Date, st.dates())]),
    (datetime, [*TEMPORAL_SOURCES, (pl.Datetime("us"), NAIVE), (pl.Datetime("ms"), NAIVE), (pl.Date, st.dates())]),
    (Annotated[datetime, Field(gt=datetime(2000, 1, 1))], [*TEMPORAL_SOURCES, (pl.Datetime("us"), NAIVE)]),
    (AwareDatetime, [*TEMPORAL_SOURCES, (pl.Datetime("us", "UTC"), AWARE), (pl.Datetime("ms", "America/New_York"), AWARE)]),
    (Annotated[AwareDatetime, Field(le=datetime(2000, 1, 1, tzinfo=timezone(timedelta(hours=5))))], [*TEMPORAL_SOURCES, (pl.Datetime("us", "UTC"), AWARE)]),  # noqa: E501
    (time, [*TEMPORAL_SOURCES, (pl.Time, st.times())]),
]  # fmt: skip

REFUSED = object()
INSTANT = TypeAdapter(datetime)


def declared_refusal(kind: Any, value: Any) -> bool:  # noqa: PLR0911, one line a conversion
    """The conversions that pydantic makes and Rowledger refuses."""
    temporal = kind in (date, datetime, time, AwareDatetime)
    match value:
        case str() | bytes() if kind is str:
            return b"\0" in (value.encode() if isinstance(value, str) else value)
        case int() if kind is float:
            return abs(value) > 2**53
        case Decimal() if kind is float:
            return _names_no_double(value)
        case str() if kind is float:
            return _is_beyond_double(value) or _loses_digits(value)
        case str() if kind is date and _is_instant(value):
            return True
        case str() if temporal:
            return bool(
                re.fullmatch(r"\s*[-+]?[0-9._]+([eE][-+]?[0-9]+)?\s*", value) or re.search(r"\.\d{6}\d*[1-9]", value)
            )
        case _:
            return False


def _is_beyond_double(text: str) -> bool:
    try:
        exact, double = Decimal(text.strip()), float(text)
    except (ArithmeticError, ValueError):
        return False
    return exact.is_finite() and (math.isinf(double) or (double == 0 and exact != 0))


def _loses_digits(text: str) -> bool:
    try:
        exact = Decimal(text.strip())
    except ArithmeticError:
        return False
    if not exact.is_finite():
        return False
    is_large_integer = abs(exact) > 2**53 and text.strip().lstrip("+-").isdigit()
    return is_large_integer or _names_no_double(exact)


def _names_no_double(exact: Decimal) -> bool:
    """Whether it has neither the shortest digits of a double nor, up to 2^53, further ones of it."""
    double = float(exact)
    if Decimal(repr(double)) == exact:
        return False
    return abs(exact) > 2**53 or Decimal(double).quantize(exact, context=Context(prec=2_000)) != exact


def _is_instant(text: str) -> bool:
    try:
        return INSTANT.validate_python(text).tzinfo is not None
    except ValidationError:
        return False


def expected(model: type[BaseModel], kind: Any, column: Any, value: Any) -> Any:  # noqa: PLR0911, one line a type
    """What pydantic makes of one value, as the column holds it, or REFUSED."""
    if declared_refusal(kind, value):
        return REFUSED
    try:
        valid = model.model_validate({"v": value}).v  # type: ignore[attr-defined]
    except (ValidationError, OverflowError):
        return REFUSED
    if isinstance(valid, Enum):
        valid = valid.value
    if isinstance(valid, datetime | time) and (valid.tzinfo is not None) != (kind is AwareDatetime):
        return REFUSED
    match column.type.name.value:
        case "smallint" | "integer" | "bigint" as name:
            bits = {"smallint": 15, "integer": 31, "bigint": 63}[name]
            return valid if -(2**bits) <= valid < 2**bits else REFUSED
        case "real":
            frame_value = pl.Series([valid], dtype=pl.Float64).cast(pl.Float32).item()
            return valid if math.isnan(valid) or frame_value == valid else REFUSED
        case "numeric":
            frame = column.type.frame_type
            if not isinstance(frame, pl.Decimal):
                return valid
            ratio = Fraction(valid) * 10**frame.scale
            return valid if ratio.denominator == 1 and abs(ratio) < 10**frame.precision else REFUSED
        case "uuid":
            return valid.bytes
        case _:
            return valid


def base_of(annotation: Any) -> Any:
    return (
        getattr(annotation, "__origin__", annotation)
        if not str(annotation).startswith("typing.Literal")
        else annotation
    )


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return repr(a) == repr(b)
    if isinstance(a, datetime) and a.tzinfo is not None:
        a, b = a.astimezone(UTC), b.astimezone(UTC)  # Python calls an hour that comes twice unequal to any other zone's
    if isinstance(a, str) and isinstance(b, Decimal):  # a numeric without declared digits
        a = Decimal(a)
    return bool(a == b)


PAIRS = [(annotation, *source) for annotation, sources in CASES for source in sources]


@pytest.mark.parametrize(("annotation", "dtype", "values"), PAIRS)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_verdict_and_value_of_each_row_are_those_of_pydantic(
    annotation: Any, dtype: Any, values: Any, data: st.DataObject
) -> None:
    model = create_model("Row", v=(annotation, ...))
    series = pl.Series("v", data.draw(st.lists(st.one_of(values, st.none()), max_size=12)), dtype=dtype, strict=False)
    contract = Contract.of(model)
    column = contract.columns[0]

    checked = contract.check(pl.DataFrame([series]))

    rows = range(len(series))
    good_rows = list(rows) if checked.good_rows is None else checked.good_rows.to_list()
    got = dict(zip(good_rows, checked.good["v"].to_list(), strict=True))
    kind = base_of(annotation)
    kind = float if annotation is Real else kind
    for row, value in zip(rows, series.to_list(), strict=True):
        wanted = REFUSED if value is None else expected(model, kind, column, value)
        if wanted is REFUSED:
            assert row not in got, f"{value!r} was taken as {got.get(row)!r}"
        else:
            assert row in got, f"{value!r} was refused, pydantic makes it {wanted!r}"
            assert same(got[row], wanted), f"{value!r} became {got[row]!r} instead of {wanted!r}"
    assert [letter.row_no for letter in checked.rejected] == [row for row in rows if row not in got]
    assert checked.good.schema == {"v": column.type.frame_type}
