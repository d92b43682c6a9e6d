"""Build frames from rows of Python values: a column has the type that all its values share, or holds their JSON texts.

No value is converted to one that is not equal to it: True is not 1, 1 is not 1.0, a key that a row lacks is not null. Decimals
keep their trailing zeros: decimals of several scales become a DECIMAL_TEXT column.
"""

import dataclasses
import functools
import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from pydantic import BaseModel

from rowledger.contract import python_series
from rowledger.errors import ValuesAltered
from rowledger.sources.marked_columns import column_with_marks, decimal_digits, holds_marks, marked
from rowledger.sources.plain_values import (
    PLAIN_TYPES,
    Unfit,
    dynamic_text,
    holds_signaling_nan,
    json_text,
    model_values,
    plain_value,
    type_name,
)
from rowledger.spec import (
    ABSENT_PREFIX,
    DECIMAL_DIGITS_MAX,
    DECIMAL_TEXT,
    DYNAMIC,
    FAULT,
    LINE,
    RESERVED_PREFIX,
    UUID,
    holds_decimal_texts,
)

__all__ = ["Fault", "FrameBuilder", "Unfit", "UnrepresentableValue", "column_of", "frame_of_rows"]

_Row = dict[str, Any]
_Values = list[Any]

_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)
_LINE_BYTES_MAX = 65_536
_LEVELS_MAX = 32
"""Levels of lists and objects in a column with a type; Arrow reads no file with more than 64. Deeper values are JSON texts."""
_MARGIN = 8  # levels


@dataclass(frozen=True, slots=True)
class Fault:
    """An item that is not a row: the reason, and the bytes to show for it."""

    reason: str
    line: bytes


class UnrepresentableValue(Exception):
    """A value that no column can hold in any form."""


class FrameBuilder:
    """Builds frames from rows, batch by batch, with the columns in one order and their types as stable as the values allow."""

    def __init__(self, columns: Sequence[str], *, columns_max: int) -> None:
        """`columns` are the contract's: a frame has them, marked as absent, even where every row of a batch lacks them."""
        self._types: dict[str, pl.DataType] = dict.fromkeys(columns, pl.Null())
        self._columns_max = columns_max

    def take(self, item: object) -> _Row | Fault:
        """The item as a row of plain values, or a fault. Later changes of the item do not affect the result."""
        try:
            row = dict(item) if type(item) is dict else _row_of(item)
            if not row.keys() <= self._types.keys():
                _require_names(row)
            return row if set(map(type, row.values())) <= PLAIN_TYPES else _plain_row(row)
        except Unfit as unfit:
            return _fault(str(unfit), item)
        except Exception as error:  # noqa: BLE001 - an item of any class may raise anything when it is read
            return _fault(f"cannot be read: it raised {type(error).__qualname__}", item)

    def frame(self, rows: Sequence[_Row | Fault]) -> pl.DataFrame:
        """The rows and faults as a frame, in their order; raises Unfit when they have more than `columns_max` columns.

        A fault, or a row with a value that no column can hold, has its reason in `FAULT` and a rendering in `LINE`.
        """
        try:
            return self._frame(rows)
        except (UnicodeEncodeError, UnrepresentableValue, RecursionError):  # only then is each value checked
            return self._frame([_without_unrepresentable_values(row) for row in rows])

    def _frame(self, rows: Sequence[_Row | Fault]) -> pl.DataFrame:
        given = [row for row in rows if type(row) is dict]
        are_alike = len(given) == len(rows) and _are_alike(given)
        self._meet_columns(given[:1] if are_alike else given)
        columns: list[pl.Series] = []
        for name, dtype in self._types.items():
            if are_alike and name in given[0]:
                columns.append(self._column(name, [row[name] for row in given], dtype))
                continue
            values = [row.get(name) if type(row) is dict else None for row in rows]
            columns.append(self._column(name, values, dtype))
            absent = [type(row) is dict and name not in row for row in rows]
            if any(absent):
                columns.append(pl.Series(ABSENT_PREFIX + name, absent, dtype=pl.Boolean))
        if len(given) < len(rows) or not columns:  # a frame without columns would have no rows
            faults = [row if type(row) is Fault else None for row in rows]
            columns.append(pl.Series(FAULT, [fault and fault.reason for fault in faults], dtype=pl.String))
            columns.append(pl.Series(LINE, [fault and fault.line for fault in faults], dtype=pl.Binary))
        return pl.DataFrame({column.name: column for column in columns}, height=len(rows))  # a list would rename ""

    def _meet_columns(self, rows: Sequence[_Row]) -> None:
        for row in rows:
            for name in row:
                if name not in self._types:
                    self._types[str.__str__(name)] = pl.Null()
        if len(self._types) > self._columns_max:
            raise Unfit(f"the rows have more than {self._columns_max} columns, the limit (columns_max)")

    def _column(self, name: str, values: _Values, dtype: pl.DataType) -> pl.Series:
        """The column. If all its values are null, it keeps its previous type; if it was DECIMAL_TEXT before, it stays so."""
        series = column_of(name, values, keeps_scales=holds_decimal_texts(dtype))
        if series.dtype == pl.Null():
            return pl.Series(name, values, dtype=dtype)
        self._types[name] = series.dtype
        return series


def frame_of_rows(rows: Sequence[object]) -> pl.DataFrame:
    """The rows as one frame, in their order."""
    builder = FrameBuilder((), columns_max=sys.maxsize)
    return builder.frame([builder.take(row) for row in rows])


def _row_of(item: object) -> _Row:
    """The values of a dict, a model, a dataclass or a named tuple by column name; raises Unfit."""
    match item:
        case Mapping():
            return dict(item)
        case BaseModel():
            return model_values(item)
        case _ if dataclasses.is_dataclass(item) and not isinstance(item, type):
            return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
        case tuple() if hasattr(item, "_asdict"):
            return dict(item._asdict())
        case _:
            raise Unfit(f"is not a row: an item of type {type_name(item)}")


def column_of(name: str, values: _Values, *, keeps_scales: bool = False) -> pl.Series:
    """The values, all of them plain, in the type that they share; otherwise as DYNAMIC.

    Decimals become DECIMAL_TEXT where their scales differ, or with `keeps_scales`, so that all batches of a column have one
    type. Raises UnicodeEncodeError for a text with half a surrogate pair, and UnrepresentableValue for sNaN.
    """
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
        except (ValueError, TypeError, OverflowError, ValuesAltered, pl.exceptions.PolarsError):
            pass  # such as a duration of a million years, whose JSON text is still exact
    if any(map(holds_signaling_nan, present)):
        raise UnrepresentableValue
    texts = pl.Series(name, [None if value is None else dynamic_text(value) for value in values], dtype=pl.String)
    return marked(texts, DYNAMIC)


# ---- rows ---------------------------------------------------------------------------------------------------------------


def _require_names(row: _Row) -> None:
    for name in row:
        if not isinstance(name, str):
            raise Unfit(f"has a column whose name is of type {type_name(name)}")
        if name.startswith(RESERVED_PREFIX):
            raise Unfit(f"has a column whose name begins with {RESERVED_PREFIX!r}, which is reserved")
        if not name.isascii():
            try:
                name.encode()
            except UnicodeEncodeError:
                raise Unfit("has a column whose name has half a surrogate pair, which is no character") from None


def _plain_row(row: _Row) -> _Row:
    plain: _Row = {}
    for name, value in row.items():
        try:
            plain[name] = plain_value(value)
        except Unfit as unfit:
            raise Unfit(f"column {name!r} {unfit}") from None
        except RecursionError:
            raise Unfit(f"column {name!r} is nested too deeply") from None
    return plain


def _are_alike(rows: Sequence[_Row]) -> bool:
    """Whether all rows have the same columns, which is the usual case."""
    return bool(rows) and all(map(rows[0].keys().__eq__, map(dict.keys, rows)))


def _without_unrepresentable_values(row: _Row | Fault) -> _Row | Fault:
    """The row, or a fault for half a surrogate pair, which UTF-8 cannot encode, for sNaN, and for too many levels."""
    if type(row) is dict:
        for name, value in row.items():
            try:
                # With a margin, since building a column takes more of the stack than this.
                text = json_text(functools.reduce(lambda inner, _: [inner], range(_MARGIN), value))
                if holds_signaling_nan(value):
                    return _fault(f"column {name!r} holds a signaling NaN (sNaN), which is not a number", row)
                text.encode()
            except RecursionError:
                return _fault(f"column {name!r} is nested too deeply", row)
            except UnicodeEncodeError:
                return _fault(f"column {name!r} holds a text with half a surrogate pair, which is no character", row)
    return row


def _fault(reason: str, item: object) -> Fault:
    # What cannot be encoded becomes \u…, as in JSON.
    return Fault(reason, _likeness(item).encode(errors="backslashreplace")[:_LINE_BYTES_MAX])


def _likeness(item: object) -> str:
    """An item that is not a row as JSON, with the names of their types for values that JSON cannot express."""
    try:
        return json_text(plain_value(item, unfit=_like))
    except Exception:  # noqa: BLE001 - an item of any class may raise anything when it is read
        return json.dumps(f"<{type_name(item)}>")


def _like(value: object) -> object:
    """The substitute for a value that JSON cannot express: its type's name; a mapping with its keys converted to texts."""
    if not isinstance(value, Mapping):
        return f"<{type_name(value)}>"
    made: _Row = {name: plain_value(item, unfit=_like) for name, item in value.items() if isinstance(name, str)}
    for key, item in value.items():
        if not isinstance(key, str):
            name = json_text(plain_value(key, unfit=_like))
            while name in made:
                name += f" <{type_name(key)}>"
            made[name] = plain_value(item, unfit=_like)
    return made


# ---- types --------------------------------------------------------------------------------------------------------------


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


def _struct_type(values: Sequence[_Row], *, keeps_scales: bool, level: int) -> pl.DataType | None:
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
