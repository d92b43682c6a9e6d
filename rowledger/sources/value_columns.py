"""Make columns of Python values: in the type that all values of a column share, or else of their JSON texts.

No value is converted to one that is not equal to it: True is not 1, 1 is not 1.0. Decimals keep their trailing zeros: decimals
of several scales become a DECIMAL_TEXT column. Most columns are made at once, without a look at each value.
"""

import uuid
from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from rowledger.contract import arrow_table, polars_series
from rowledger.errors import ValuesAltered
from rowledger.sources.marked_columns import column_of_type, decimal_digits, marked
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


def array_of(
    values: _Values, kinds: Collection[type] | None = None, *, keeps_scales: bool = False, are_large: bool = False
) -> _Array:
    """The values, all of them plain, as an Arrow array of a type that the spool has; of type null if all are None.

    `kinds` are the types of the values, if they are known. Texts that `are_large` are put together here: Arrow would need four
    times their memory. Decimals become DECIMAL_TEXT where their scales differ, or with
    `keeps_scales`, so that all batches of a column have one type. Raises UnicodeEncodeError for a text with half a surrogate
    pair, and UnrepresentableValue for sNaN.
    """
    made = _array_at_once(values, kinds, keeps_scales=keeps_scales, are_large=are_large)
    if made is None:
        made = _by_polars("", values, keeps_scales=keeps_scales)
        made = arrow_table(made.to_frame(), compat_level=pl.CompatLevel.oldest()).column(0).combine_chunks()
    return made


def column_of(name: str, values: _Values, *, keeps_scales: bool = False) -> pl.Series:
    """The same as a polars series."""
    made = _array_at_once(values, None, keeps_scales=keeps_scales)
    return _by_polars(name, values, keeps_scales=keeps_scales) if made is None else polars_series(name, made)


# ---- columns made at once ----------------------------------------------------------------------------------------------------

_AT_ONCE: dict[type, pl.DataType] = {
    bool: pl.Boolean(),
    float: pl.Float64(),
    str: pl.String(),
    bytes: pl.Binary(),
}
_FIRST_DAY = date(1970, 1, 1).toordinal()


def _array_at_once(  # noqa: PLR0911, one line a type
    values: _Values, kinds: Collection[type] | None, *, keeps_scales: bool, are_large: bool = False
) -> _Array | None:
    """The array of a common type; None where the values have to be looked at, or have no common type.

    Not by `pyarrow.array`, which imports pandas where it is installed.
    """
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
    if kind is date:
        return _dates(values, has_nulls=has_nulls)
    if kind is int:
        return _integers(values, has_nulls=has_nulls)
    if are_large and kind in (str, bytes):
        return _of_large_texts(values, pa.large_string() if kind is str else pa.large_binary())
    if kind not in _AT_ONCE:
        return None
    try:
        made = pl.Series(values, dtype=_AT_ONCE[kind], strict=True)
    except UnicodeEncodeError:
        raise
    except (OverflowError, TypeError, ValueError, pl.exceptions.PolarsError):
        return None
    return made.to_arrow(compat_level=pl.CompatLevel.oldest()) if has_nulls or not made.null_count() else None


def _integers(values: _Values, *, has_nulls: bool) -> _Array | None:
    """Not by polars, which prints an integer that is too large for it."""
    present = [0 if value is None else value for value in values] if has_nulls else values
    try:
        numbers = np.fromiter(present, dtype=np.int64, count=len(values))
    except OverflowError:
        return None
    bitmap = _bitmap(values) if has_nulls else None
    return pa.Array.from_buffers(pa.int64(), len(values), [bitmap, pa.py_buffer(numbers.data)])


def _dates(values: _Values, *, has_nulls: bool) -> _Array:
    ordinals = [_FIRST_DAY if value is None else value.toordinal() for value in values]
    days = np.array(ordinals, dtype=np.int32) - np.int32(_FIRST_DAY)
    bitmap = _bitmap(values) if has_nulls else None
    return pa.Array.from_buffers(pa.date32(), len(values), [bitmap, pa.py_buffer(days.data)])


def _bitmap(values: _Values) -> Any:  # noqa: ANN401, a pyarrow.Buffer
    return pa.py_buffer(np.packbits([value is not None for value in values], bitorder="little").data)


def _of_large_texts(values: _Values, kind: Any) -> _Array:  # noqa: ANN401, an Arrow type
    offsets = np.cumsum([0, *(0 if value is None else _bytes_of(value) for value in values)], dtype=np.int64)
    content = np.empty(offsets[-1], dtype=np.uint8)
    for number, value in enumerate(values):
        if value is not None:
            encoded = value.encode() if isinstance(value, str) else value
            content[offsets[number] : offsets[number + 1]] = np.frombuffer(encoded, dtype=np.uint8)
    buffers: list[Any] = [_bitmap(values), pa.py_buffer(offsets.data), pa.py_buffer(content.data)]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _bytes_of(value: str | bytes) -> int:
    return len(value) if isinstance(value, bytes) or value.isascii() else len(value.encode())


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
    numbers: _Array = pa.Array.from_buffers(pa.string(), len(ends), digits).cast(pa.int64())
    unscaled = np.frombuffer(numbers.buffers()[1], dtype=np.int64, count=len(ends))
    bitmap = None
    if has_nulls:
        valid = np.array([value is not None for value in values])
        bitmap = _bitmap(values)
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
            return column_of_type(name, values, dtype)
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
