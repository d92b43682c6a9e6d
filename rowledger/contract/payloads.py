"""Rows as dead letters keep them: JSON objects with exact values, and the way back to a frame.

Written when a row is refused, read when it is replayed, perhaps after a person has edited it in between.
"""

# ruff: noqa: ANN401, a cell of a row may be anything

import base64
import binascii
import json
import math
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, Self

import polars as pl

from rowledger.contract.decimal_texts import digits_of, python_cells
from rowledger.contract.documents import RepeatedKey, parse_json
from rowledger.contract.dynamic import BYTES_FOR_PEOPLE, dynamic_texts
from rowledger.contract.uuids import holds_uuids, uuids_for_people
from rowledger.errors import SourceError
from rowledger.spec import ABSENT_PREFIX, BYTES_16, BYTES_KEY, DECIMAL_TEXT, DYNAMIC, RESERVED_PREFIX, UUID

__all__ = [
    "Unreadable",
    "frame_of_payloads",
    "holds_times",
    "json_texts",
    "parse_dynamic",
    "row_payloads",
    "sorted_json",
    "with_bytes",
]

_CALENDAR_DAYS = (-719_162, 2_932_896)  # 0001-01-01 and 9999-12-31
_TICKS_A_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_EPOCH = date(1970, 1, 1).toordinal()
_DAY_S = 86_400

_DAY = r"(?P<day>\d{4}-\d\d-\d\d)"
_CLOCK = r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?:\.(?P<f>\d{1,9}))?"
_DATE = re.compile(_DAY)
_TIME = re.compile(_CLOCK)
_TIMESTAMP = re.compile(f"{_DAY}[ T]{_CLOCK}(?:\\+00:00)?")
_DURATION = re.compile(
    r"(?P<sign>-?)P(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+)(?:\.(?P<f>\d{1,9}))?S)?)?"
)
_TICKS = re.compile(r"(?P<ticks>-?\d+) (?:d|ms|us|ns) since 1970-01-01")
_BYTES_KEY = "base64"
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_TEXT_OR_SPECIAL = re.compile(r'("(?:[^"\\]|\\.)*")|(NaN|-?Infinity)')
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def row_payloads(rows: pl.DataFrame) -> Iterator[str]:
    """Each row as a JSON object that keeps its exact values. Reserved columns are left out, and columns a row does not have.

    Integers and finite floats are JSON numbers (floats in their shortest form that reads back equal), decimals, dates, times
    and durations are text (ISO 8601, instants in UTC, with nanoseconds where the source has them), NaN and infinities are the
    texts NaN, Infinity and -Infinity, bytes are {"base64": "…"}. Other values of a DYNAMIC column stand as they were.
    """
    names = [name for name in rows.columns if not name.startswith(RESERVED_PREFIX)]
    written = [json_texts(rows[name]) for name in names]
    for index, name in enumerate(names):
        if (absent := ABSENT_PREFIX + name) in rows.columns:
            written[index] = [
                None if lacks else text for text, lacks in zip(written[index], rows[absent].to_list(), strict=True)
            ]
    keys = [f"{_ENCODER.encode(name)}: " for name in names]
    for texts in zip(*written, strict=True):
        yield "{" + ", ".join([key + text for key, text in zip(keys, texts, strict=True) if text is not None]) + "}"


def frame_of_payloads(payloads: Sequence[str], schema: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:
    """The rows that `row_payloads` wrote, as the source gave them: the way back, for payloads that a person edited too.

    `schema` has the types that columns had in the source, or are known to have; its columns are all there again. A column
    whose values are not all of that type, such as one that was edited into text, comes back as DYNAMIC; so does one without a
    known type whose values are of several. A key left out is an absent column of that row. Raises SourceError for a payload
    that is no JSON object.
    """
    rows = [_parsed(payload) for payload in payloads]
    known = dict(schema or {})
    names = list(
        dict.fromkeys([*(n for n in known if not n.startswith(RESERVED_PREFIX)), *(n for row in rows for n in row)])
    )
    columns: list[pl.Series] = []
    for name in names:
        values = [row.get(name) for row in rows]
        columns.append(_series(values, known.get(name)).alias(name))
        absent = [name not in row for row in rows]
        if any(absent):
            columns.append(pl.Series(ABSENT_PREFIX + name, absent, dtype=pl.Boolean))
    return pl.DataFrame(columns)


class Unreadable:
    """In place of a value whose JSON cannot be read without loss, and why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def parse_dynamic(text: str, *, exact: bool, zeros: bool = False) -> Any:
    """The value of a JSON text of a DYNAMIC column, with its bytes.

    Fractions are Decimal where `exact`, and wherever a double would lose digits, or with `zeros` the zeros at the end.
    """
    try:
        value = parse_json(text, exact=exact, zeros=zeros)
    except RepeatedKey:
        return Unreadable("is JSON that has a key twice")
    except (ValueError, RecursionError):
        return Unreadable("is JSON that cannot be read: it is nested too deeply, or has a number of too many digits")
    return with_bytes(value, key=BYTES_KEY) if BYTES_KEY in text else value


def with_bytes(value: Any, *, key: str = _BYTES_KEY) -> Any:
    """The value of a JSON text with bytes, at any depth, where it has the form in which payloads keep them."""
    match value:
        case dict() if isinstance(made := _bytes_of(value, key), bytes):
            return made
        case dict():
            return {name: with_bytes(item, key=key) for name, item in value.items()}
        case list():
            return [with_bytes(item, key=key) for item in value]
        case _:
            return value


def _bytes_of(value: dict[str, Any], key: str) -> Any:
    if value.keys() != {key}:
        return value
    try:
        return base64.b64decode(value[key], validate=True)
    except (binascii.Error, TypeError, ValueError):
        return value


def sorted_json(text: str) -> str:
    """A JSON text in a form that two texts share when jsonb keeps the same of them: all digits, each key once, in order."""

    def written(value: Any) -> str:
        match value:
            case Decimal():
                return format(value or value.copy_abs(), "f")
            case list():
                return "[" + ", ".join(map(written, value)) + "]"
            case dict():
                return "{" + ", ".join(f"{json.dumps(name)}: {written(value[name])}" for name in sorted(value)) + "}"
            case _:
                return json.dumps(value)

    return written(json.loads(text, parse_float=Decimal, parse_int=Decimal))


def json_texts(values: pl.Series, *, bytes_key: str = _BYTES_KEY) -> list[str | None]:
    """The JSON text of each value as `row_payloads` writes it, bytes under that key; that of a null is null."""
    if holds_uuids(values.dtype):
        values = uuids_for_people(values.to_frame("v")).to_series()
    if values.dtype == DYNAMIC:
        return ["null" if text is None else _for_people(text) for text in dynamic_texts(values).to_list()]
    exact = (
        values.to_frame("v").select(_exact(pl.col("v"), values.dtype)).to_series()
        if holds_times(values.dtype)
        else values
    )
    if exact.dtype == DECIMAL_TEXT:
        exact = digits_of(exact)
    written = _writer(exact.dtype, bytes_key)
    return ["null" if value is None else written(value) for value in python_cells(exact)]


def _for_people(text: str) -> str:
    """The JSON text of a DYNAMIC column, with NaN and infinities, which JSON has not and Python reads and writes, as texts."""
    if BYTES_KEY in text:
        text = text.replace(*BYTES_FOR_PEOPLE)
    if "NaN" not in text and "Infinity" not in text:
        return text
    return _TEXT_OR_SPECIAL.sub(lambda found: found[1] or f'"{found[2]}"', text)


def _writer(dtype: pl.DataType, bytes_key: str) -> Callable[[Any], str]:
    """What writes a value of that type as JSON, the common types without a detour."""
    match dtype:
        case pl.String() | pl.Categorical() | pl.Enum():
            return encode_basestring
        case pl.Decimal():
            return '"{:f}"'.format
        case _ if dtype.is_integer():
            return str
        case _:
            return lambda value: _ENCODER.encode(_json_value(value, bytes_key))


def holds_times(dtype: pl.DataType) -> bool:
    """Whether there is a date or a time in it, at any depth."""
    match dtype:
        case pl.List() | pl.Array():
            return holds_times(dtype.inner)  # type: ignore[arg-type]
        case pl.Struct():
            return any(holds_times(field.dtype) for field in dtype.fields)  # type: ignore[arg-type]
        case _:
            return dtype.is_temporal()


def _exact(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:  # noqa: PLR0911, one line a type
    """Dates and times as polars writes them, at any depth, for Python's own hold no nanoseconds."""
    if not holds_times(dtype):
        return values
    match dtype:
        case pl.List():
            return values.list.eval(_exact(pl.element(), dtype.inner))  # type: ignore[arg-type]
        case pl.Array():
            return values.arr.to_list().list.eval(_exact(pl.element(), dtype.inner))  # type: ignore[arg-type]
        case pl.Struct():
            fields = pl.struct(
                _exact(values.struct.field(field.name), field.dtype).alias(field.name)  # type: ignore[arg-type]
                for field in dtype.fields
            )
            return pl.when(values.is_not_null()).then(fields)
        case pl.Date():
            return _calendar_text(values, "d", *_CALENDAR_DAYS)
        case pl.Datetime():
            in_utc = values if dtype.time_zone is None else values.dt.convert_time_zone("UTC")
            a_day = _DAY_S * _TICKS_A_SECOND[dtype.time_unit]
            first, last = _CALENDAR_DAYS[0] * a_day, (_CALENDAR_DAYS[1] + 1) * a_day - 1
            return _calendar_text(in_utc, dtype.time_unit, max(first, -(2**63)), min(last, 2**63 - 1))
        case _:
            return values.dt.to_string("iso")


def _calendar_text(values: pl.Expr, unit: str, first: int, last: int) -> pl.Expr:
    """ISO 8601; ticks where it is outside the years 1 to 9999."""
    ticks = values.to_physical().cast(pl.Int64)
    inside = ticks.is_between(first, last)
    written = pl.when(inside).then(values).dt.to_string("iso")
    return (
        pl.when(ticks.is_null() | inside).then(written).otherwise(pl.format("{} " + unit + " since 1970-01-01", ticks))
    )


def _json_value(value: Any, bytes_key: str) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        case Decimal():
            return format(value, "f")
        case bytes():
            return {bytes_key: base64.b64encode(value).decode("ascii")}
        case list():
            return [_json_value(item, bytes_key) for item in value]
        case dict():
            return {str(name): _json_value(item, bytes_key) for name, item in value.items()}
        case _:
            return value


class _Number(float):
    """A JSON number with a fraction or an exponent, and how it was written."""

    text: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number


def _parsed(payload: str) -> dict[str, Any]:
    try:
        row = json.loads(payload, parse_float=_Number)
    except ValueError:
        raise SourceError("the payload of a dead letter is no JSON") from None
    if not isinstance(row, dict):
        raise SourceError("the payload of a dead letter is no JSON object")
    return row


def _series(values: list[Any], dtype: pl.DataType | None) -> pl.Series:
    """The values in that type if every one of them reads back as it was, otherwise in a type of their own."""
    if dtype is None:
        dtype = _common_type(values)
    elif isinstance(dtype, pl.Categorical | pl.Enum):
        dtype = pl.String()
    if dtype != DYNAMIC:
        try:
            cells = [None if value is None else _cell(value, dtype) for value in values]
            series = pl.Series(cells, dtype=_wire_type(dtype), strict=True).cast(dtype)
            if json_texts(series) == [_dumps(value, dtype) for value in values]:
                return series
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, pl.exceptions.PolarsError):
            pass
    texts = [None if value is None else {DYNAMIC.fields[0].name: _raw(value)} for value in values]
    return pl.Series(texts, dtype=DYNAMIC)


def _common_type(values: list[Any]) -> pl.DataType:
    """What the values say by themselves; DYNAMIC when they are of several types."""
    present = [value for value in values if value is not None]
    types = {type(value) for value in present}
    if not types:
        return pl.Null()
    if len(types) > 1:
        return DYNAMIC
    kind = types.pop()
    if kind is int:
        low, high = min(present), max(present)
        return pl.Int64() if low >= -(2**63) and high < 2**63 else pl.Int128()
    if kind is dict and all(value.keys() == {"base64"} for value in present):
        return pl.Binary()
    simple: dict[type, pl.DataType] = {str: pl.String(), bool: pl.Boolean(), _Number: pl.Float64()}
    return simple.get(kind, DYNAMIC)


def _wire_type(dtype: pl.DataType) -> pl.DataType:
    """The type that `_cell` gives its values in: dates and times as ticks."""
    match dtype:
        case _ if dtype in (UUID, BYTES_16, DECIMAL_TEXT):
            return dtype
        case pl.List() | pl.Array():
            return pl.List(_wire_type(dtype.inner))  # type: ignore[arg-type]
        case pl.Struct():
            return pl.Struct({field.name: _wire_type(field.dtype) for field in dtype.fields})  # type: ignore[arg-type]
        case pl.Date():
            return pl.Int32()
        case _:
            return pl.Int64() if dtype.is_temporal() else dtype


def _cell(value: Any, dtype: pl.DataType) -> Any:  # noqa: PLR0911, PLR0912, C901, one line a type
    """One JSON value for `_wire_type`; raises ValueError, or gives something else than was meant, for what is none of it."""
    if value is None:
        return None
    match dtype:
        case _ if dtype == UUID:
            return {UUID.fields[0].name: uuid.UUID(value).bytes}
        case _ if dtype == BYTES_16:
            return {BYTES_16.fields[0].name: base64.b64decode(value["base64"], validate=True)}
        case _ if dtype == DECIMAL_TEXT:
            return {DECIMAL_TEXT.fields[0].name: format(Decimal(value), "f")}
        case pl.List() | pl.Array():
            return [_cell(item, dtype.inner) for item in value]  # type: ignore[arg-type]
        case pl.Struct():
            fields = {field.name: field.dtype for field in dtype.fields}
            return {name: _cell(value.get(name), kind) for name, kind in fields.items()}  # type: ignore[arg-type]
        case pl.Binary():
            return base64.b64decode(value["base64"], validate=True)
        case pl.Decimal():
            return Decimal(value)
        case pl.Date():
            return _ticks(value) if "since" in value else _days(_match(_DATE, value))
        case pl.Time():
            return _clock(_match(_TIME, value), 10**9)
        case pl.Datetime():
            if "since" in value:
                return _ticks(value)
            found, unit = _match(_TIMESTAMP, value), _TICKS_A_SECOND[dtype.time_unit]
            return _days(found) * _DAY_S * unit + _clock(found, unit)
        case pl.Duration():
            found, unit = _match(_DURATION, value), _TICKS_A_SECOND[dtype.time_unit]
            ticks = int(found["d"] or 0) * _DAY_S * unit + _clock(found, unit)
            return -ticks if found["sign"] else ticks
        case _ if dtype.is_float():
            return _NOT_FINITE[value] if isinstance(value, str) else float(value)
        case _:
            return value


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError("not in the form in which payloads are written")
    return found


def _ticks(text: str) -> int:
    return int(_match(_TICKS, text)["ticks"])


def _days(found: re.Match[str]) -> int:
    return date.fromisoformat(found["day"]).toordinal() - _EPOCH


def _clock(found: re.Match[str], ticks_a_second: int) -> int:
    seconds = int(found["h"] or 0) * 3600 + int(found["m"] or 0) * 60 + int(found["s"] or 0)
    return seconds * ticks_a_second + int((found["f"] or "").ljust(9, "0")) * ticks_a_second // 10**9


def _dumps(value: Any, dtype: pl.DataType) -> str:
    """The value as `row_payloads` would write it if it is of that type."""
    if isinstance(value, int) and not isinstance(value, bool) and dtype.is_float():
        value = float(value)
    return _ENCODER.encode(value)


def _raw(value: Any) -> str:
    """JSON with numbers as they were written; in ASCII, for an edited text may hold half a surrogate pair."""
    match value:
        case _Number():
            return value.text
        case list():
            return "[" + ", ".join(map(_raw, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{json.dumps(name)}: {_raw(item)}" for name, item in value.items()) + "}"
        case _:
            return json.dumps(value)
