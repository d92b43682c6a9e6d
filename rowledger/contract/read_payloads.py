"""Dead letters' payloads, possibly edited by the operator, read back as rows of a frame."""

# ruff: noqa: ANN401, a cell of a row may be anything
import base64
import json
import math
import re
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, Self

import numpy as np
import polars as pl

from rowledger.contract.write_payloads import ENCODER, TICKS_A_SECOND, json_texts
from rowledger.errors import SourceError
from rowledger.spec import ABSENT_PREFIX, BYTES_16, DECIMAL_TEXT, DYNAMIC, RESERVED_PREFIX, UUID, with_types

__all__ = ["frame_of_payloads"]

_MOMENT = re.compile(r"(?P<moment>\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d:\d\d(?:\.\d{1,9})?)?)(?:\+00:00)?")
_DURATION = re.compile(
    r"(?P<sign>-?)P(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+)(?:\.(?P<f>\d{1,9}))?S)?)?"
)
_TICKS = re.compile(r"(?P<ticks>-?\d+) (?:d|ms|us|ns) since 1970-01-01")
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def frame_of_payloads(payloads: Sequence[str], schema: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:
    """The rows that `row_payloads` wrote, as the source gave them; also for payloads that were edited.

    `schema` has the source's types of columns, or their known types; the frame has all its columns. A column is DYNAMIC if its
    values are not all of its type, for example after an edit, or if it has no known type and values of several types. A
    missing key is a column that the row does not have. Raises SourceError for a payload that is not a JSON object.
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


class _Number(float):
    """A JSON number with a fraction or an exponent, and its text."""

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
    """The values in that type if each of them survives the conversion, otherwise DYNAMIC."""
    if dtype is None:
        dtype = _common_type(values)
    elif isinstance(dtype, pl.Categorical | pl.Enum):
        dtype = pl.String()
    if dtype != DYNAMIC:
        try:
            cells = [None if value is None else _cell(value, dtype) for value in values]
            series = pl.Series(cells, dtype=with_types(dtype, _wire_type), strict=True).cast(dtype)
            if json_texts(series) == [_dumps(value, dtype) for value in values]:
                return series
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, pl.exceptions.PolarsError):
            pass
    texts = [None if value is None else {DYNAMIC.fields[0].name: _raw(value)} for value in values]
    return pl.Series(texts, dtype=DYNAMIC)


def _common_type(values: list[Any]) -> pl.DataType:
    """The type of the values; DYNAMIC if they are of several types."""
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
    """The type of a value that `_cell` returns: dates and times are ticks."""
    return pl.Int32() if isinstance(dtype, pl.Date) else pl.Int64() if dtype.is_temporal() else dtype


def _cell(value: Any, dtype: pl.DataType) -> Any:  # noqa: PLR0911, PLR0912, C901, one line per type
    """One JSON value for `_wire_type`. For a value of another type it raises, or returns a wrong value that `_series` finds."""
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
            return _ticks(value, "D")
        case pl.Time():
            return _ticks(f"1970-01-01 {value}", "ns")
        case pl.Datetime():
            return _ticks(value, dtype.time_unit)
        case pl.Duration():
            return _duration(value, TICKS_A_SECOND[dtype.time_unit])
        case _ if dtype.is_float():
            return _NOT_FINITE[value] if isinstance(value, str) else float(value)
        case _:
            return value


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError("not in the form in which payloads are written")
    return found


def _ticks(text: str, unit: Literal["D", "ms", "us", "ns"]) -> int:
    """The number of units since 1970."""
    if counted := _TICKS.fullmatch(text):
        return int(counted["ticks"])
    return int(np.datetime64(_match(_MOMENT, text)["moment"], unit).astype(np.int64))


def _duration(text: str, ticks_a_second: int) -> int:
    found = _match(_DURATION, text)
    days, hours, minutes, seconds = (int(found[part] or 0) for part in "dhms")
    seconds += ((days * 24 + hours) * 60 + minutes) * 60
    ticks = seconds * ticks_a_second + int((found["f"] or "").ljust(9, "0")) * ticks_a_second // 10**9
    return -ticks if found["sign"] else ticks


def _dumps(value: Any, dtype: pl.DataType) -> str:
    """The value as `row_payloads` writes it if it is of that type."""
    if isinstance(value, int) and not isinstance(value, bool) and dtype.is_float():
        value = float(value)
    return ENCODER.encode(value)


def _raw(value: Any) -> str:
    """JSON with numbers as they were written; in ASCII, because an edited text may contain half a surrogate pair."""
    match value:
        case _Number():
            return value.text
        case list():
            return "[" + ", ".join(map(_raw, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{json.dumps(name)}: {_raw(item)}" for name, item in value.items()) + "}"
        case _:
            return json.dumps(value)
