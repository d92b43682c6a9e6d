"""Convert Arrow data to polars frames, value for value: types that polars lacks or misreads are converted first."""

import itertools
import zoneinfo
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from rowledger.contract import frame_type, polars_series
from rowledger.errors import SourceError, ValuesAltered
from rowledger.sources.marked_columns import as_marked, marked
from rowledger.sources.nested_types import LISTS, arrow_types_in, entries_type, with_inner_types
from rowledger.sources.plain_values import dynamic_text, object_names, plain_value
from rowledger.sources.unrepresentable_values import (
    as_stored,
    line_of,
    list_lengths,
    runs_written_out,
    unrepresentable_rows,
)
from rowledger.spec import BYTES_16, DECIMAL_DIGITS_MAX, DYNAMIC, FAULT, LINE, RESERVED_PREFIX, UUID

__all__ = [
    "faults_marked",
    "frame_of",
    "holds_16_bytes",
    "plain_type",
    "require_names",
    "series_of",
    "with_uuids_marked",
]

_Array = Any
"""A `pyarrow.ChunkedArray` or `pyarrow.Array` of any kind. The stubs of these, and of `_pa`, are too narrow."""
_pa: Any = pa
_FAILED = (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, NotImplementedError, ValueError)


def frame_of(table: pa.Table, *, origin: str) -> pl.DataFrame:
    """The table as a frame; raises SourceError, with `origin` and the column, for a type that no frame can hold.

    Every table from outside passes through this function: from pyarrow, pandas, an ADBC driver, Arrow's Parquet reader. Nulls
    are counted and types compared before and after. A row with a value that polars would lose (a time of 24:00, text that is
    not UTF-8) cannot be read: it has the reason in `FAULT` and a rendering of the row in `LINE`, and becomes a dead letter with
    stage `source`. The two columns exist only if there is such a row.

    Dictionaries and run-end encodings are expanded; extension types become their storage types. Decimals with more digits than
    polars supports, and intervals with months, become text. A map becomes JSON: an object if its keys are distinct texts,
    integers or UUIDs, otherwise a list of pairs.
    """
    faults: dict[int, str] = {}
    frame = pl.DataFrame(series_of(table, faults, origin=origin), height=table.num_rows)
    return faults_marked(frame, faults, table)


def series_of(table: pa.Table, faults: dict[int, str], *, origin: str) -> dict[str, pl.Series]:
    """The columns of `frame_of` by name. A value at fault is null, and `faults` gets its row's number and the reason."""
    require_names(table.column_names, origin)
    columns = zip(table.schema, table.columns, strict=True)
    return {field.name: _series(column, field, faults, origin) for field, column in columns}


def faults_marked(frame: pl.DataFrame, faults: Mapping[int, str], table: pa.Table) -> pl.DataFrame:
    """The frame with the faults, if any, in `FAULT`, and in `LINE` the rows at fault as the original `table` has them."""
    if not faults:
        return frame
    reasons = [faults.get(row) for row in range(frame.height)]
    lines = [None if reason is None else line_of(table, row) for row, reason in enumerate(reasons)]
    return frame.with_columns(pl.Series(FAULT, reasons, dtype=pl.String), pl.Series(LINE, lines, dtype=pl.Binary))


def require_names(names: list[str], origin: str) -> None:
    """Raise SourceError for names of columns that occur twice or are reserved."""
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(f"{origin}: has several columns of the names {double}; name them apart")
    if reserved := [name for name in names if name.startswith(RESERVED_PREFIX)]:
        raise SourceError(f"{origin}: the columns {reserved} have names that are reserved; rename them")


def _series(column: _Array, field: "pa.Field[Any]", faults: dict[int, str], origin: str) -> pl.Series:
    """The column, null where its row is at fault; the faults are added to `faults`."""
    plain = plain_type(field.type)
    if not isinstance(field.type, pa.MapType) and frame_type(plain) is None:
        raise SourceError(
            f"{origin}: column {field.name!r} is {field.type}, which no column of a frame holds; convert it"
        )
    try:
        if at_fault := unrepresentable_rows(column):
            for row, reason in at_fault:
                faults.setdefault(row, f"column {field.name!r} {reason}")
            column = _without_rows(column, [row for row, _ in at_fault])
        plain_column = _as_plain(column, column.type)
        if isinstance(plain_column.type, pa.FixedSizeListType):
            plain_column = plain_column.combine_chunks()  # a copy: polars 2.1 cannot read a slice with nulls
        series = polars_series(field.name, plain_column)
    except ValuesAltered as altered:
        raise ValuesAltered(f"{origin}: {altered}") from None
    except _FAILED as error:
        raise SourceError(
            f"{origin}: column {field.name!r} is {field.type}, which cannot be read here ({type(error).__name__}); convert it"
        ) from None
    return series if isinstance(field.type, pa.MapType) else with_uuids_marked(series, field.type)


def with_uuids_marked(series: pl.Series, kind: pa.DataType) -> pl.Series:
    """The series of an Arrow column of this type, with values of 16 fixed bytes marked as UUID or BYTES_16, at any depth."""
    if not holds_16_bytes(kind):
        return series
    return series.to_frame("v").select(_marked(pl.col("v"), kind).alias(series.name)).to_series()


def holds_16_bytes(kind: pa.DataType) -> bool:
    """Whether values of 16 fixed bytes, such as UUIDs, are at any depth in columns of this Arrow type."""
    return pa.binary(16) in arrow_types_in(kind)


def _marked(expr: pl.Expr, kind: Any) -> pl.Expr:  # noqa: ANN401, PLR0911, one line a type
    """The expression with its marks."""
    if not holds_16_bytes(kind):
        return expr
    match kind:
        case pa.UuidType():
            return as_marked(expr, UUID)
        case pa.BaseExtensionType():
            return _marked(expr, kind.storage_type)
        case pa.DictionaryType() | pa.RunEndEncodedType():
            return _marked(expr, kind.value_type)
        case pa.MapType():
            return _marked(expr, entries_type(kind))
        case pa.FixedSizeListType():
            return expr.arr.to_list().list.eval(_marked(pl.element(), kind.value_type))
        case _ if isinstance(kind, LISTS):
            return expr.list.eval(_marked(pl.element(), kind.value_type))
        case pa.StructType():
            fields = [_marked(expr.struct.field(field.name), field.type).alias(field.name) for field in kind]
            return pl.when(expr.is_not_null()).then(pl.struct(fields))
    return as_marked(expr, BYTES_16)


def _without_rows(column: _Array, rows: list[int]) -> _Array:
    """The column with nulls in these rows, so that no frame gets their values."""
    match column.type:
        case pa.RunEndEncodedType():
            column = _by_chunk(runs_written_out, column, column.type.value_type)
        case pa.DictionaryType() if column.type.value_type == pa.string_view():
            column = _by_chunk(_written_out, column, pa.large_string())
    kept = np.ones(len(column), dtype=np.bool_)
    kept[rows] = False
    try:
        return column.take(pa.array(np.arange(len(column)), mask=~kept))
    except pa.ArrowNotImplementedError:  # pyarrow 26 takes no views
        null = pa.nulls(1, column.type)
        ends = [-1, *rows, len(column)]
        parts = [[*column.slice(a + 1, b - a - 1).chunks, null] for a, b in itertools.pairwise(ends)]
        return _pa.chunked_array([chunk for part in parts for chunk in part][:-1], type=column.type)


def _written_out(texts: _Array) -> _Array:
    """The texts of a dictionary of views, which pyarrow cannot expand, without the bytes that are not UTF-8."""
    values = [text and text.decode(errors="ignore") for text in as_stored(texts.dictionary).to_pylist()]
    return pa.array(values, pa.large_string()).take(texts.indices)


def plain_type(kind: pa.DataType) -> pa.DataType:  # noqa: PLR0911, C901, one line a type
    """The type to which values of this type are converted before polars reads them; mostly the same type."""
    match kind:
        case pa.Bool8Type():
            return pa.bool_()
        case pa.BaseExtensionType():
            return plain_type(kind.storage_type)
        case pa.DictionaryType() if kind.value_type == pa.string_view():
            return kind  # polars writes a Categorical like this and reads it again; pyarrow cannot expand it
        case pa.DictionaryType() | pa.RunEndEncodedType():
            return plain_type(kind.value_type)
        case pa.MapType():  # inside another type; a key may occur several times
            return plain_type(entries_type(kind))
        case pa.ListViewType():
            return plain_type(pa.list_(kind.value_type))
        case pa.LargeListViewType():
            return plain_type(pa.large_list(kind.value_type))
        case pa.TimestampType():
            # polars has no seconds, and wraps around when it converts them to milliseconds; a cast by pyarrow is checked.
            return pa.timestamp(
                "ms" if kind.unit == "s" else kind.unit, None if kind.tz is None else _known_zone(kind.tz)
            )
        case pa.DurationType():
            return pa.duration("ms" if kind.unit == "s" else kind.unit)
    if pa.types.is_decimal(kind):
        return _plain_decimal(kind.precision, kind.scale, kind)
    if kind == pa.month_day_nano_interval():
        return pa.string()
    converted: pa.DataType = with_inner_types(kind, plain_type)
    return converted


def _plain_decimal(precision: int, scale: int, kind: pa.DataType) -> pa.DataType:
    digits = max(precision, scale) - min(scale, 0)
    if digits > DECIMAL_DIGITS_MAX:
        return pa.string()
    if scale < 0 or digits > precision or pa.types.is_decimal256(kind):
        return pa.decimal128(digits, max(scale, 0))
    return kind


@cache
def _known_zone(name: str) -> str:
    """The zone, or UTC for an unknown one: its values are still instants, counted from 1970 in UTC."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return "UTC"
    return name


def _as_plain(column: _Array, kind: pa.DataType) -> _Array:
    plain = plain_type(kind)
    if plain == kind:
        return column
    match kind:
        case pa.MapType():
            texts = [None if pairs is None else _json_of_map(pairs) for pairs in column.to_pylist()]
            return marked(pl.Series(texts, dtype=pl.String), DYNAMIC).to_arrow()
        case pa.RunEndEncodedType():
            return _as_plain(_by_chunk(runs_written_out, column, kind.value_type), kind.value_type)
        case pa.ListViewType() | pa.LargeListViewType():
            lists = pa.large_list(kind.value_type)
            return _as_plain(_by_chunk(_without_views, column, lists), lists).cast(plain)
    if kind == pa.month_day_nano_interval():
        texts = [None if value is None else _iso_interval(*value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    if any(isinstance(inner, pa.ListViewType | pa.LargeListViewType) for inner in arrow_types_in(kind)):
        raise NotImplementedError  # a cast would lose values, see below
    return column.cast(plain)


def _by_chunk(convert: Callable[[_Array], _Array], column: _Array, kind: pa.DataType) -> _Array:
    return _pa.chunked_array([convert(chunk) for chunk in column.chunks], type=kind)


def _without_views(lists: _Array) -> _Array:
    """The list views as lists. Not by a cast: pyarrow 26 would make the last list an empty one."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(list_lengths(lists))])
    return _pa.LargeListArray.from_arrays(pa.array(offsets), lists.flatten(), mask=lists.is_null())


def _json_of_map(pairs: list[tuple[Any, Any]]) -> str:
    """A JSON object if the keys are distinct texts, integers or UUIDs, otherwise a list of pairs: an object would lose some."""
    keys, values = [plain_value(key) for key, _ in pairs], [plain_value(value) for _, value in pairs]
    names = object_names(keys)
    members = zip(keys if names is None else names, values, strict=True)
    return dynamic_text([list(pair) for pair in members] if names is None else dict(members))


def _iso_interval(months: int, days: int, nanoseconds: int) -> str:
    """The interval in ISO 8601, with a sign for each part, as PostgreSQL reads and writes it."""
    seconds, fraction = divmod(abs(nanoseconds), 10**9)
    sign = "-" if nanoseconds < 0 else ""
    date = (f"{months}M" if months else "") + (f"{days}D" if days else "")
    return f"P{date}T{sign}{seconds}" + (f".{fraction:09}".rstrip("0") if fraction else "") + "S"
