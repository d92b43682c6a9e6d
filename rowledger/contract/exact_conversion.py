"""Conversions of columns between pyarrow, polars and Python, which preserve nulls and types or raise.

A library that cannot hold a value may replace it by a null (polars does so with the time 24:00), or by a value of another
type. Null counts on both sides, at each level of nesting, detect the first; a comparison of types detects the second. Both
cost almost nothing, because columns store their null count.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from rowledger.errors import ValuesAltered
from rowledger.spec import with_types

__all__ = ["arrow_table", "frame_type", "is_same_type", "octet_sizes", "polars_frame", "polars_series", "python_series"]

_Array = Any
"""A `pyarrow.Array` or `pyarrow.ChunkedArray` of any kind; the stubs are too narrow."""

_FLAT: dict[pa.DataType, pl.DataType] = {
    pa.null(): pl.Null(), pa.bool_(): pl.Boolean(),
    pa.int8(): pl.Int8(), pa.int16(): pl.Int16(), pa.int32(): pl.Int32(), pa.int64(): pl.Int64(),
    pa.uint8(): pl.UInt8(), pa.uint16(): pl.UInt16(), pa.uint32(): pl.UInt32(), pa.uint64(): pl.UInt64(),
    pa.float16(): pl.Float16(), pa.float32(): pl.Float32(), pa.float64(): pl.Float64(),
    pa.string(): pl.String(), pa.large_string(): pl.String(), pa.string_view(): pl.String(),
    pa.binary(): pl.Binary(), pa.large_binary(): pl.Binary(), pa.binary_view(): pl.Binary(),
    pa.date32(): pl.Date(), pa.date64(): pl.Datetime("ms"),
    **dict.fromkeys((pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")), pl.Time()),
}  # fmt: skip


_WHOLE = {pa.string_view()}
"""Types that polars takes over as they are; as a part of a frame, a long text would be copied twice."""


def polars_series(name: str, column: _Array) -> pl.Series:
    """An Arrow column, of pyarrow, an ADBC driver or pandas, as a polars series.

    The column must be of a type that `frame_type` knows, and its texts must be UTF-8, which polars does not check. Raises
    ValuesAltered if polars turned values into nulls, or changed the type. For external data, use
    `rowledger.sources.arrow_frames.frame_of`, which finds the rows whose values polars would lose and dead-letters them.
    """
    if column.type in _WHOLE:
        series = pl.Series(name, column)
    else:
        (series,) = pl.DataFrame(pa.table([column], names=[name]), nan_to_null=False).get_columns()
    require_unchanged(name, column, series)
    return series.alias(name)


def polars_frame(table: pa.Table) -> pl.DataFrame:
    """An Arrow table as a frame, under the conditions of `polars_series`; raises ValuesAltered."""
    frame = pl.DataFrame(table.rename_columns(list(map(str, range(table.num_columns)))), nan_to_null=False)
    frame.columns = table.column_names  # polars would rename a column without a name
    for name, column, series in zip(table.column_names, table.columns, frame.get_columns(), strict=True):
        require_unchanged(name, column, series)
    return frame


def arrow_table(frame: pl.DataFrame, *, compat_level: pl.CompatLevel) -> pa.Table:
    """A frame as an Arrow table, for pyarrow, pgpq or a file; raises ValuesAltered like `polars_series`."""
    # Column by column, since a frame's long texts would be copied twice.
    columns = [series.to_arrow(compat_level=compat_level) for series in frame.get_columns()]
    table = pa.Table.from_arrays(columns, names=frame.columns)
    for name, column, series in zip(frame.columns, table.columns, frame.get_columns(), strict=True):
        require_unchanged(name, column, series)
    return table


def python_series(name: str, values: list[Any], dtype: pl.DataType, *, nulls: int) -> pl.Series:
    """Python values of one type, `nulls` of them None, as a polars series; raises ValuesAltered, and what polars raises."""
    series = pl.Series(name, values, dtype=dtype, strict=True)
    if series.null_count() != nulls:
        raise ValuesAltered(f"column {name!r}: {nulls} nulls became {series.null_count()} as {series.dtype}")
    return series


def octet_sizes(values: pl.Series) -> npt.NDArray[np.int32]:
    """The bytes of each text or bytes, none of which is null.

    Every expression of polars, even a length, takes three times the memory of a long text.
    """
    array = values.to_arrow(compat_level=pl.CompatLevel.newest())
    views = np.frombuffer(memoryview(array.buffers()[1]), dtype=np.int32).reshape(-1, 4)  # type: ignore[arg-type]
    return views[array.offset : array.offset + len(array), 0]


def require_unchanged(name: str, column: _Array, series: pl.Series) -> None:
    """Raise ValuesAltered unless the column and the series have equal null counts and corresponding types."""
    if not is_same_type(frame_type(column.type), series.dtype):
        raise ValuesAltered(
            f"column {name!r}: {column.type} of Arrow and {series.dtype} of polars are not the same type"
        )
    before = _null_counts(column)
    after: tuple[int, ...] = (series.null_count(),)
    if pa.types.is_nested(column.type):
        after = _null_counts(series.to_arrow(compat_level=pl.CompatLevel.newest()))
    if before != after:
        raise ValuesAltered(
            f"column {name!r}: {sum(before)} nulls as {column.type} of Arrow, {sum(after)} as {series.dtype} of polars; "
            "values would be lost"
        )


def frame_type(kind: pa.DataType) -> pl.DataType | None:  # noqa: PLR0911, one line per type
    """The polars type of Arrow columns of this type; None for a type that polars cannot read, or reads as another."""
    match kind:
        case pa.FixedSizeBinaryType() if not pa.types.is_decimal(kind):
            return pl.Binary()
        case pa.TimestampType():
            return pl.Datetime("ms" if kind.unit == "s" else kind.unit, kind.tz)
        case pa.DurationType():
            return pl.Duration("ms" if kind.unit == "s" else kind.unit)
        case pa.DictionaryType():
            return pl.Categorical() if kind.value_type in _TEXTS else None
        case pa.FixedSizeListType():
            inner = frame_type(kind.value_type)
            return None if inner is None else pl.Array(inner, kind.list_size)
        case pa.ListType() | pa.LargeListType() | pa.ListViewType() | pa.LargeListViewType():
            inner = frame_type(kind.value_type)
            return None if inner is None else pl.List(inner)
        case pa.StructType():
            fields = {field.name: frame_type(field.type) for field in kind}
            return None if None in fields.values() else pl.Struct(fields)  # type: ignore[arg-type]
        case _ if pa.types.is_decimal(kind):
            return pl.Decimal(kind.precision, kind.scale)
    return _FLAT.get(kind)


_TEXTS = {pa.string(), pa.large_string(), pa.string_view()}


def _null_counts(column: _Array) -> tuple[int, ...]:
    """The null counts of an Arrow column: its own, then those of its items or fields at each depth, ignoring parts of nulls."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    if not pa.types.is_nested(column.type):
        return (sum(map(_flat_nulls, chunks)),)
    counted = [_nested_nulls(chunk) for chunk in chunks] or [_nested_nulls(pa.nulls(0, column.type))]
    return tuple(map(sum, zip(*counted, strict=True)))


def _nested_nulls(array: _Array) -> tuple[int, ...]:
    parts = array.flatten()
    if not isinstance(array.type, pa.StructType):  # a null struct counts as a null in each field
        parts = [parts]
    return (array.null_count, *(count for part in parts for count in _null_counts(part)))


def _flat_nulls(array: _Array) -> int:
    if not isinstance(array.type, pa.DictionaryType) or not array.dictionary.null_count:
        return int(array.null_count)
    is_null = np.asarray(array.dictionary.is_null())
    return int(array.null_count + is_null[np.asarray(array.indices.drop_null())].sum())


def is_same_type(wanted: pl.DataType | None, given: pl.DataType) -> bool:
    """Whether a type that `frame_type` returned equals `given`; names of categories do not matter."""
    return bool(wanted == with_types(given, _without_categories))


def _without_categories(dtype: pl.DataType) -> pl.DataType:
    return pl.Categorical() if isinstance(dtype, pl.Enum | pl.Categorical) else dtype
