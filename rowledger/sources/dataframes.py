"""Convert frames and Arrow data that Python code yields to frames that can be spooled, value for value.

pandas is not imported here: a pandas frame can only come from code that has imported it.
"""

import contextlib
import io
import sys
from collections.abc import Iterator
from decimal import InvalidOperation
from typing import Any

import polars as pl
import pyarrow as pa

from rowledger.errors import SourceError
from rowledger.sources.arrow_frames import frame_of, require_names
from rowledger.sources.frame_builder import frame_of_rows
from rowledger.sources.kept_frames import KeptFrames
from rowledger.sources.plain_values import Unfit, plain_value, type_name
from rowledger.sources.value_columns import UnrepresentableValue, column_of

__all__ = ["frames_of", "holds_many", "own"]

_SLICE_ROWS = 131_072
_SLICE_BYTES = 32 * 2**20
_SINGLE_COLUMNS = {"Series", "ChunkedArray"}

# Types that the spool does not support. They are converted value by value, or through Arrow.
_ONLY_VALUE_BY_VALUE = (pl.Object, pl.Int128, pl.UInt128)
_ONLY_BY_ARROW = (pl.Map, pl.BaseExtension)


def holds_many(item: object) -> bool:
    """Whether the item is a frame or Arrow data rather than a row."""
    if isinstance(item, dict):
        return False
    if isinstance(item, pl.DataFrame | pl.LazyFrame | KeptFrames):
        return True
    is_stream = hasattr(item, "__arrow_c_stream__") and type(item).__name__ not in _SINGLE_COLUMNS
    return is_stream or (hasattr(item, "__arrow_c_array__") and hasattr(item, "num_columns"))


def frames_of(item: Any, *, origin: str) -> Iterator[pl.DataFrame]:  # noqa: ANN401, whatever exports Arrow data
    """The rows of a polars or pandas frame, an Arrow table, batch or stream, in order; raises SourceError with `origin`.

    They are converted slice by slice, so that a large frame is never in memory twice. A frame may lie in the item's memory,
    which the code that has made it may overwrite as soon as it goes on.
    """
    if isinstance(item, KeptFrames):
        yield from item.frames()
        return
    try:
        for frame in _frames_of(item, origin):
            yield _all_spoolable(frame, origin)
    except SourceError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - a lazy frame or a stream runs foreign code
        problem = f"{type(error).__qualname__} while reading an item of type {type_name(item)}"
    else:
        return
    raise SourceError(f"{origin}: {problem}; fix it and rerun")


def _frames_of(item: Any, origin: str) -> Iterator[pl.DataFrame]:  # noqa: ANN401, as above
    if isinstance(item, pl.LazyFrame):
        for frame in item.collect_batches(chunk_size=_SLICE_ROWS, maintain_order=True):
            yield from _frames_of(frame, origin)
    elif isinstance(item, pl.DataFrame):
        require_names(item.columns, origin)
        yield from item.iter_slices(_slice_rows(item.height, int(item.estimated_size())))
    elif (pandas := sys.modules.get("pandas")) is not None and isinstance(item, pandas.DataFrame):
        height = len(item)
        rows = _slice_rows(height, int(item.memory_usage(index=False).sum()))
        for first in range(0, height, rows) if height > rows else [0]:
            yield _of_pandas(item.iloc[first : first + rows] if height > rows else item, pandas, origin)
    else:
        yield from _of_arrow(item, origin)


def _slice_rows(height: int, size: int) -> int:
    """The rows that a slice of an item may have, whose rows have `size` bytes altogether."""
    return max(1, min(_SLICE_ROWS, height * _SLICE_BYTES // max(size, 1)))


def _all_spoolable(frame: pl.DataFrame, origin: str) -> pl.DataFrame:
    if not any(isinstance(dtype, _ONLY_VALUE_BY_VALUE + _ONLY_BY_ARROW) for dtype in frame.dtypes):
        return frame
    try:
        return pl.DataFrame([_spoolable(frame[name], origin) for name in frame.columns], height=frame.height)
    except (UnicodeEncodeError, UnrepresentableValue):  # raised by a value of an object column: only its row is a fault
        return frame_of_rows(list(frame.iter_rows(named=True)))


def own(frame: pl.DataFrame) -> pl.DataFrame:
    """A copy of the frame in memory of its own."""
    if not frame.width or not frame.height:
        return frame
    content = io.BytesIO()
    frame.write_ipc_stream(content)  # the only way to copy nested columns and the characters of texts too
    content.seek(0)
    copy = pl.read_ipc_stream(content, use_pyarrow=False)
    copy.columns = frame.columns
    return copy


def _spoolable(column: pl.Series, origin: str) -> pl.Series:
    """The column in a type that the spool supports."""
    if isinstance(column.dtype, _ONLY_VALUE_BY_VALUE):
        return _by_value(column.name, column.to_list(), origin)
    if isinstance(column.dtype, _ONLY_BY_ARROW):
        return frame_of(column.to_frame().to_arrow(), origin=origin)[column.name]
    return column


def _of_arrow(item: Any, origin: str) -> Iterator[pl.DataFrame]:  # noqa: ANN401, as above
    batches = pa.RecordBatchReader.from_stream(item) if hasattr(item, "__arrow_c_stream__") else [pa.record_batch(item)]
    for batch in batches:
        rows = _slice_rows(batch.num_rows, batch.nbytes)
        for first in range(0, max(batch.num_rows, 1), rows):
            yield frame_of(pa.Table.from_batches([batch.slice(first, rows)]), origin=origin)


def _of_pandas(frame: Any, pandas: Any, origin: str) -> pl.DataFrame:  # noqa: ANN401, pandas is not a dependency
    try:
        return _of_pandas_columns(frame, pandas, origin)
    except (UnicodeEncodeError, UnrepresentableValue, InvalidOperation):
        # Raised by one object: only its row is a fault.
        columns = [[_or_none(value, pandas) for value in frame[name]] for name in frame.columns]
        return frame_of_rows([dict(zip(frame.columns, row, strict=True)) for row in zip(*columns, strict=True)])


def _of_pandas_columns(frame: Any, pandas: Any, origin: str) -> pl.DataFrame:  # noqa: ANN401, as above
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    names = list(frame.columns)
    if unfit := [name for name in names if not isinstance(name, str) or names.count(name) > 1]:
        raise SourceError(f"{origin}: a frame has columns whose names are twice there or no text: {unfit}; rename them")
    columns: dict[str, Any] = {}
    for name in names:
        values = frame[name]
        # Not for objects, which pyarrow converts to one type where it can, nor for periods and intervals, which become numbers.
        if values.dtype != object and not isinstance(values.dtype, pandas.PeriodDtype | pandas.IntervalDtype):
            with contextlib.suppress(pa.ArrowException):  # sparse columns, complex numbers …
                columns[name] = pa.Array.from_pandas(values)
                continue
        present = [None if lacks else value for value, lacks in zip(values, values.isna(), strict=True)]
        columns[name] = _by_value(name, present, origin).to_arrow(compat_level=pl.CompatLevel.newest())
    if not columns:
        return pl.DataFrame(height=len(frame))
    return frame_of(pa.table(columns), origin=origin)


def _or_none(value: Any, pandas: Any) -> Any:  # noqa: ANN401, as above
    """The value; None for one that pandas takes as missing."""
    try:
        return None if pandas.api.types.is_scalar(value) and pandas.isna(value) else value
    except InvalidOperation:  # pandas compares the value, which raises for a signaling NaN
        return value


def _by_value(name: str, values: list[Any], origin: str) -> pl.Series:
    try:
        return column_of(name, [plain_value(value) for value in values])
    except Unfit as unfit:
        raise SourceError(f"{origin}: column {name!r} of a frame {unfit}; convert it") from None
