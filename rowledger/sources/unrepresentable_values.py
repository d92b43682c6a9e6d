"""Find values that an Arrow column holds and a frame cannot, before they are lost: the time 24:00, text that is not UTF-8.

Such a value sets aside only its row. The rendering of that row for the operator is made here too.
"""

from collections.abc import Iterator
from datetime import date
from decimal import Context, Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rowledger.sources.nested_types import LISTS, arrow_types_in, entries_type, with_inner_types
from rowledger.sources.plain_values import json_text, plain_value, text_or_bytes

__all__ = ["as_stored", "leaves", "line_of", "list_lengths", "runs_written_out", "unrepresentable_rows"]

_Array = Any
_pa: Any = pa
"""pyarrow where its stubs know too little."""
_Rows = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]

_TICKS_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_S = 86_400
_EVERY_DIGIT = Context(prec=1_000)
_SECONDS_MAX = (2**63 - 1) // 1_000  # what fits into milliseconds, polars' coarsest unit
_BYTES_OF_TEXT = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}
_EPOCH = date(1970, 1, 1).toordinal()
_CALENDAR = range(1, date.max.toordinal() + 1)

_OUT_OF_DAY = "is a time of day outside of 00:00 to 23:59:59.999999999"
_NOT_UTF8 = "has a text that is not valid UTF-8"
_OUT_OF_YEARS = "is outside the years 1 to 9999"
_TOO_LONG = "is longer than 292 million years"


def unrepresentable_rows(column: _Array) -> list[tuple[int, str]]:
    """The numbers of the rows with such a value at any depth, in order, each with one reason."""
    if not _may_be_unrepresentable(column.type):
        return []
    found: dict[int, str] = {}
    for leaf, rows in leaves(column):
        for at_fault, reason in _search(leaf, rows):
            for row in at_fault.tolist():
                found.setdefault(row, reason)
    return sorted(found.items())


def _may_be_unrepresentable(kind: Any) -> bool:  # noqa: ANN401, the stubs know too little of a type's parts
    return any(
        inner in _BYTES_OF_TEXT
        or pa.types.is_time(inner)
        or pa.types.is_decimal(inner)
        or (isinstance(inner, pa.TimestampType | pa.DurationType) and inner.unit == "s")
        for inner in arrow_types_in(kind)
    )


def _search(leaf: _Array, rows: _Rows) -> Iterator[tuple[_Rows, str]]:
    """The rows with such values, and the reason; value `i` of the array belongs to row `rows[i]`."""
    match leaf.type:
        case kind if not _may_be_unrepresentable(kind):
            pass
        case pa.DictionaryType():
            indices = np.asarray(leaf.indices.fill_null(-1) if leaf.null_count else leaf.indices)
            for positions, reason in _search(leaf.dictionary, np.arange(len(leaf.dictionary))):
                yield rows[np.isin(indices, positions)], reason
        case pa.RunEndEncodedType():
            yield from _search(runs_written_out(leaf), rows)
        case _:
            mask, reason = _unrepresentable_values(leaf)
            if mask is not None and mask.any():
                yield rows[mask], reason


def leaves(column: _Array) -> Iterator[tuple[_Array, _Rows]]:
    """The values of a column at any depth, in arrays that are not nested; value `i` of an array belongs to row `rows[i]`."""
    first = 0
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        yield from _leaves(chunk, np.arange(first, first + len(chunk)))
        first += len(chunk)


def _leaves(array: _Array, rows: _Rows) -> Iterator[tuple[_Array, _Rows]]:
    kind = array.type
    match kind:
        case pa.BaseExtensionType():
            yield from _leaves(array.storage, rows)
        case pa.MapType():
            yield from _leaves(array.view(entries_type(kind)), rows)
        case _ if isinstance(kind, LISTS):
            yield from _leaves(array.flatten(), np.repeat(rows, list_lengths(array)))
        case pa.StructType():
            for child in array.flatten():
                yield from _leaves(child, rows)
        case _:
            yield array, rows


def list_lengths(lists: _Array) -> _Rows:
    """The number of items of each list, 0 for a null."""
    if isinstance(lists.type, pa.FixedSizeListType):
        return np.where(np.asarray(lists.is_valid()), lists.type.list_size, 0)
    return np.asarray(lists.value_lengths().fill_null(0)).astype(np.int64)


def runs_written_out(array: _Array) -> _Array:
    """The values of a RunEndEncodedArray, one for each row; raises ArrowNotImplementedError for values that are encoded too.

    `pyarrow.compute` has a function for this, but importing it takes longer than a worker may take to start.
    """
    if isinstance(array.type.value_type, pa.DictionaryType | pa.BaseExtensionType):
        raise pa.ArrowNotImplementedError
    rows = np.arange(array.offset, array.offset + len(array))
    return array.values.take(pa.array(np.searchsorted(np.asarray(array.run_ends), rows, side="right")))


def _unrepresentable_values(array: _Array) -> tuple[_Mask | None, str]:
    kind = array.type
    if kind in _BYTES_OF_TEXT or pa.types.is_decimal(kind):
        try:
            array.validate(full=True)
        except pa.ArrowInvalid:
            values = array.view(_stored_type(kind)).to_pylist()
        else:
            return None, ""
        if kind in _BYTES_OF_TEXT:
            return np.array(
                [value is not None and isinstance(text_or_bytes(value), bytes) for value in values]
            ), _NOT_UTF8
        limit = 10**kind.precision
        too_large = [value is not None and abs(_unscaled(value)) >= limit for value in values]
        return np.array(too_large), f"has more digits than its type, {kind}, declares"
    ticks = array.view(_stored_type(kind))
    numbers = np.asarray(ticks.fill_null(0) if ticks.null_count else ticks)
    if pa.types.is_time(kind):
        return (numbers < 0) | (numbers >= _DAY_S * _TICKS_A_SECOND[kind.unit]), _OUT_OF_DAY
    reason = _OUT_OF_YEARS if isinstance(kind, pa.TimestampType) else _TOO_LONG
    return (numbers < -_SECONDS_MAX) | (numbers > _SECONDS_MAX), reason


def _unscaled(value: int | bytes) -> int:
    return value if isinstance(value, int) else int.from_bytes(value, "little", signed=True)


# ---- values as they are stored ----------------------------------------------------------------------------------------------


def as_stored(array: _Array) -> _Array:
    """The array with integers for dates, times and small decimals, and bytes for texts and other decimals.

    No value is checked, and none is lost.
    """
    stored = _stored_type(array.type)
    return array if stored == array.type else array.view(stored)


def _stored_type(kind: Any) -> Any:  # noqa: ANN401, as above
    match kind:
        case pa.BaseExtensionType():
            return _stored_type(kind.storage_type)
        case pa.DictionaryType():
            return _pa.dictionary(kind.index_type, _stored_type(kind.value_type), kind.ordered)
        case pa.RunEndEncodedType():
            return _pa.run_end_encoded(kind.run_end_type, _stored_type(kind.value_type))
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()  # noqa: PLR2004, bits
    if pa.types.is_decimal(kind):
        narrow = {32: pa.int32(), 64: pa.int64()}
        return narrow.get(kind.bit_width, pa.binary(kind.bit_width // 8))
    return _BYTES_OF_TEXT.get(kind) or with_inner_types(kind, _stored_type)


# ---- the rendering of such a row --------------------------------------------------------------------------------------------


def line_of(table: pa.Table, row: int) -> bytes:
    """The row as JSON: texts that are not UTF-8 as their bytes, dates and times in ISO 8601 where it can express them."""
    values = {
        field.name: _shown(as_stored(column.slice(row, 1).combine_chunks()).to_pylist()[0], field.type)
        for field, column in zip(table.schema, table.columns, strict=True)
    }
    return json_text(values).encode()


def _shown(value: Any, kind: Any) -> Any:  # noqa: ANN401, PLR0911, PLR0912, C901, one line a type
    if value is None:
        return None
    match kind:
        case pa.BaseExtensionType():
            return _shown(value, kind.storage_type)
        case pa.DictionaryType() | pa.RunEndEncodedType():
            return _shown(value, kind.value_type)
        case pa.MapType():
            return [[_shown(key, kind.key_type), _shown(item, kind.item_type)] for key, item in value]
        case _ if isinstance(kind, LISTS):
            return [_shown(item, kind.value_type) for item in value]
        case pa.StructType():
            return {field.name: _shown(value[field.name], field.type) for field in kind}
    if kind in _BYTES_OF_TEXT:
        return text_or_bytes(value)
    if pa.types.is_decimal(kind):
        return Decimal(_unscaled(value)).scaleb(-kind.scale, _EVERY_DIGIT)
    if pa.types.is_date32(kind):
        return _shown_day(value)
    if pa.types.is_time(kind):
        return _shown_clock(value, kind.unit)
    if pa.types.is_duration(kind):
        return f"{'-' if value < 0 else ''}PT{_shown_seconds(abs(value), kind.unit)}S"
    if pa.types.is_timestamp(kind) or pa.types.is_date64(kind):
        unit = "ms" if pa.types.is_date64(kind) else kind.unit
        days, ticks = divmod(value, _DAY_S * _TICKS_A_SECOND[unit])
        if days + _EPOCH not in _CALENDAR:
            return f"{value} {unit} since 1970-01-01"
        return f"{_shown_day(days)}T{_shown_clock(ticks, unit)}{'+00:00' if getattr(kind, 'tz', None) else ''}"
    return plain_value(value, unfit=str)


def _shown_day(days: int) -> str:
    ordinal = days + _EPOCH
    return date.fromordinal(ordinal).isoformat() if ordinal in _CALENDAR else f"{days} d since 1970-01-01"


def _shown_clock(ticks: int, unit: str) -> str:
    sign, ticks = ("-", -ticks) if ticks < 0 else ("", ticks)
    minutes, rest = divmod(ticks, 60 * _TICKS_A_SECOND[unit])
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}:{_shown_seconds(rest, unit, digits_min=2)}"


def _shown_seconds(ticks: int, unit: str, *, digits_min: int = 1) -> str:
    seconds, rest = divmod(ticks, _TICKS_A_SECOND[unit])
    fraction = f".{rest:0{len(str(_TICKS_A_SECOND[unit])) - 1}}" if rest else ""
    return f"{seconds:0{digits_min}}{fraction}"
