"""Make columns of Python values: in the type that all values of a column share, or else of their JSON texts.

No value is converted to one that is not equal to it: True is not 1, 1 is not 1.0. Decimals keep their trailing zeros: decimals
of several scales become a DECIMAL_TEXT column. Most columns are made by pyarrow at once, and the others by polars.
"""

import uuid
from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from rowledger.contract import arrow_table, polars_series, python_series
from rowledger.errors import ValuesAltered
from rowledger.sources.marked_columns import column_with_marks, decimal_digits, holds_marks, marked
from rowledger.sources.plain_values import dynamic_text, holds_signaling_nan
from rowledger.spec import DECIMAL_DIGITS_MAX, DECIMAL_TEXT, DYNAMIC, RESERVED_PREFIX, UUID

__all__ = ["UnrepresentableValue", "array_of", "column_of"]

_Values = Sequence[Any]
_Array = Any
"""A `pyarrow.Array` of any kind; the stubs are too narrow."""

_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)
_LEVELS_MAX = 32
"""Levels of lists and objects in a column with a type; Arrow reads no file with more than 64. Deeper values are JSON texts."""
_REFUSALS = (ValueError, TypeError, OverflowError, ValuesAltered, pa.ArrowException, pl.exceptions.PolarsError)
_LINE_END, _POINT, _NINE = b"\n.9"
_INT64_DIGITS = 18
_HALF_OF_DECIMAL = DECIMAL_DIGITS_MAX // 2


class UnrepresentableValue(Exception):
    """A value that no column can hold in any form."""


def array_of(values: _Values, kinds: Collection[type] | None = None, *, keeps_scales: bool = False) -> _Array:
    """The values, all of them plain, as an Arrow array of a type that the spool has; of type null if all are None.

    `kinds` are the types of the values, if they are known. Decimals become DECIMAL_TEXT where their scales differ, or with
    `keeps_scales`, so that all batches of a column have one type. Raises UnicodeEncodeError for a text with half a surrogate
    pair, and UnrepresentableValue for sNaN.
    """
    made = _array_at_once(values, kinds, keeps_scales=keeps_scales)
    if made is None:
        made = _by_polars("", values, keeps_scales=keeps_scales)
        made = arrow_table(made.to_frame(), compat_level=pl.CompatLevel.oldest()).column(0).combine_chunks()
    return made


def column_of(name: str, values: _Values, *, keeps_scales: bool = False) -> pl.Series:
    """The same as a polars series."""
    made = _array_at_once(values, None, keeps_scales=keeps_scales)
    return _by_polars(name, values, keeps_scales=keeps_scales) if made is None else polars_series(name, made)


# ---- columns that pyarrow makes -------------------------------------------------------------------------------------------

_DIRECT: dict[type, tuple[Any, ...]] = {
    bool: (pa.bool_(),),
    int: (pa.int64(), pa.uint64()),
    float: (pa.float64(),),
    str: (pa.large_string(),),
    bytes: (pa.large_binary(),),
    date: (pa.date32(),),
    timedelta: (pa.duration("us"),),
}


def _array_at_once(values: _Values, kinds: Collection[type] | None, *, keeps_scales: bool) -> _Array | None:
    """The array; None where polars has to make it, or where it is of JSON texts."""
    kinds = set(map(type, values) if kinds is None else kinds)
    has_nulls = type(None) in kinds
    kinds.discard(type(None))
    if not kinds:
        return pa.nulls(len(values))
    kind = kinds.pop()
    if kinds:
        return None
    if kind is Decimal:
        return _decimals(values, has_nulls=has_nulls) if not keeps_scales else None
    for arrow_type in _DIRECT.get(kind) or _types_of_times(kind, values):
        try:
            made: _Array = pa.array(values, arrow_type)
        except UnicodeEncodeError:
            raise
        except (OverflowError, pa.ArrowException):
            continue
        if has_nulls or not made.null_count:
            return made
    return None


def _types_of_times(kind: type, values: _Values) -> tuple[Any, ...]:
    """The type of datetimes or times; none for values in the zones of regions, some of which polars refuses."""
    if kind is datetime:
        zones = {type(value.tzinfo) for value in values if value is not None}
        if zones == {timezone}:
            return (pa.timestamp("us", "UTC"),)
        return (pa.timestamp("us"),) if zones == {type(None)} else ()
    if kind is time and all(value is None or value.tzinfo is None for value in values):
        return (pa.time64("ns"),)
    return ()


def _decimals(values: _Values, *, has_nulls: bool) -> _Array | None:
    """Decimals of one scale; None where their scales differ or one of them is no plain number of few enough digits."""
    present = [value for value in values if value is not None] if has_nulls else values
    written = np.frombuffer(("\n".join(map(str, present)) + "\n").encode(), dtype=np.uint8)
    if written.max() > _NINE:  # an exponent, NaN or an infinity
        return None
    ends, points = np.flatnonzero(written == _LINE_END), np.flatnonzero(written == _POINT)
    if np.diff(ends, prepend=-1).max() > _INT64_DIGITS:
        return None
    scale = 0
    if len(points):
        if len(points) < len(ends):
            return None
        scales = ends - points - 1
        scale = int(scales[0])
        if (scales != scale).any():
            return None
        written = written[written != _POINT]
    width = 2 if scale else 1  # the bytes that are not digits: the point and the end
    ends -= np.arange(width - 1, width * len(ends), width)
    offsets = np.concatenate([np.zeros(1, np.int32), ends.astype(np.int32)])
    digits = [None, pa.py_buffer(offsets.data), pa.py_buffer(written[written != _LINE_END].data)]
    unscaled = np.asarray(pa.Array.from_buffers(pa.string(), len(ends), digits).cast(pa.int64()))
    bitmap = None
    if has_nulls:
        valid = np.array([value is not None for value in values])
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little").data)
        spread = np.zeros(len(values), dtype=np.int64)
        spread[valid] = unscaled
        unscaled = spread
    words = np.stack([unscaled, unscaled >> 63], axis=1)  # 128 bits, the lower half first
    return pa.Array.from_buffers(
        pa.decimal128(DECIMAL_DIGITS_MAX, scale), len(values), [bitmap, pa.py_buffer(words.data)]
    )


# ---- columns that polars makes --------------------------------------------------------------------------------------------


def _by_polars(name: str, given: _Values, *, keeps_scales: bool) -> pl.Series:
    values = list(given)
    present = [value for value in values if value is not None]
    dtype = _common_type(present, keeps_scales=keeps_scales)
    if dtype is not None:
        try:
            if isinstance(dtype, pl.Decimal):
                return decimal_digits(name, values).cast(dtype)
            if holds_marks(dtype):
                return column_with_marks(name, values, dtype)
            return python_series(name, values, dtype, nulls=len(values) - len(present))
        except UnicodeEncodeError:
            raise
        except _REFUSALS:
            pass  # such as a duration of a million years, whose JSON text is still exact
    if any(map(holds_signaling_nan, present)):
        raise UnrepresentableValue
    texts = pl.Series(name, [None if value is None else dynamic_text(value) for value in values], dtype=pl.String)
    return marked(texts, DYNAMIC)


def _common_type(values: _Values, *, keeps_scales: bool, level: int = 0) -> pl.DataType | None:  # noqa: PLR0911, one line a type
    """The type that holds all values, none of them null, exactly; None if there is none."""
    types = set(map(type, values))
    if not types:
        return pl.Null()
    if len(types) > 1 or level > _LEVELS_MAX:
        return None
    kind = types.pop()
    if kind is int:
        low, high = min(values), max(values)
        return next((t for t, r in ((pl.Int64(), _INT64), (pl.UInt64(), _UINT64)) if low in r and high in r), None)
    if kind is Decimal:
        return _decimal_type(values, keeps_scales=keeps_scales)
    if kind is datetime:
        are_aware = {value.utcoffset() is not None for value in values}
        return None if len(are_aware) > 1 else pl.Datetime("us", "UTC" if are_aware.pop() else None)
    if kind is time:
        return pl.Time() if all(value.tzinfo is None for value in values) else None
    if kind is list:
        items = [item for value in values for item in value if item is not None]
        inner = _common_type(items, keeps_scales=keeps_scales, level=level + 1)
        return None if inner is None else pl.List(inner)
    if kind is dict:
        return _struct_type(values, keeps_scales=keeps_scales, level=level + 1)
    return _SIMPLE_TYPES.get(kind)


_SIMPLE_TYPES: dict[type, pl.DataType] = {
    bool: pl.Boolean(),
    float: pl.Float64(),
    str: pl.String(),
    bytes: pl.Binary(),
    date: pl.Date(),
    timedelta: pl.Duration("us"),
    uuid.UUID: UUID,
}


def _decimal_type(values: Sequence[Decimal], *, keeps_scales: bool) -> pl.DataType | None:
    exponents = {value.as_tuple().exponent for value in values}
    scales = [-exponent for exponent in exponents if isinstance(exponent, int)]
    if len(scales) < len(exponents):
        return None  # NaN, Infinity
    least, scale = max(0, min(scales)), max(0, *scales)
    whole = max(0, max(map(Decimal.adjusted, values)) + 1)
    if whole + scale > DECIMAL_DIGITS_MAX:
        return None
    return DECIMAL_TEXT if keeps_scales or least < scale else pl.Decimal(DECIMAL_DIGITS_MAX, scale)


def _struct_type(values: Sequence[dict[str, Any]], *, keeps_scales: bool, level: int) -> pl.DataType | None:
    names = values[0].keys()
    if not names or any(value.keys() != names for value in values):
        return None  # a missing key is not null
    if any(name.startswith(RESERVED_PREFIX) or "\0" in name for name in names):
        return None  # the name could be taken for a reserved one, or would be cut at the NUL
    fields = {
        name: _common_type([v[name] for v in values if v[name] is not None], keeps_scales=keeps_scales, level=level)
        for name in names
    }
    return None if None in fields.values() else pl.Struct(fields)  # type: ignore[arg-type]
