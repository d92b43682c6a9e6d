"""Read a chunk of a Parquet file column by column: with polars, and with Arrow where polars is not exact or fails.

A file is reported as damaged only when neither library can read one of its columns.
"""

import itertools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.parquet as pq

from rowledger.errors import SourceError
from rowledger.sources.arrow_frames import faults_marked, series_of, with_uuids_marked
from rowledger.sources.parquet_scan import FAILED_IN_POLARS, Reader, RowRange
from rowledger.sources.unrepresentable_values import leaves
from rowledger.spec import types_in, with_types

__all__ = ["read_by_column"]

_BATCH_ROWS = 16_384
_TICKS_OUT_OF_RANGE = 2**63 - 1
_FINER = (
    "has a timestamp of 96 bits that is not a whole number of microseconds, beside others that nanoseconds do not reach"
)
_BEYOND = "has a timestamp of 96 bits in a map that nanoseconds do not reach"


def read_by_column(part: RowRange, frame: pl.DataFrame | None, failed: list[BaseException]) -> pl.DataFrame:
    """The rows. `frame` has the columns that polars reads; None if it failed, and is to read them one by one.

    Errors of polars are added to `failed`.
    """
    try:
        names = part.scan().collect_schema().names()
    except FAILED_IN_POLARS:
        names = []
    if frame is None:
        frame = _each_by_polars(part, names, failed)
    return _put_together(part, names or list(pq.read_schema(part.file).names), frame)


def _each_by_polars(part: RowRange, names: Sequence[str], failed: list[BaseException]) -> pl.DataFrame:
    """The columns that polars can read of a file that it cannot read as a whole."""
    native: dict[str, pl.Series] = {}
    for name in names:
        try:
            if part.readers.get(name) != Reader.ARROW:
                native[name] = part.by_polars(cs.by_name(name))[name]
        except FAILED_IN_POLARS as error:
            failed.append(error)
            if part.readers.get(name) == Reader.INT96:
                raise
    return pl.DataFrame(native)


def _put_together(part: RowRange, names: Sequence[str], frame: pl.DataFrame) -> pl.DataFrame:
    """One frame of the columns that polars has read and of the others, which Arrow reads, in the file's order."""
    origin, faults = part.origin, dict[int, str]()
    frame = _with_exact_timestamps(part, frame, faults)
    for kind, mark in ((pa.uuid(), Reader.UUID), (pa.binary(16), Reader.BYTES_16)):
        found = [name for name in part.names(mark) if name in frame.columns]
        frame = frame.with_columns(with_uuids_marked(frame[name], kind) for name in found)
    maps = frame.select([name for name, dtype in frame.schema.items() if _holds_map(dtype)]).to_arrow()
    by_arrow = [name for name in names if name not in frame.columns]
    others = _by_arrow(part, by_arrow) if by_arrow else pa.table({})
    columns = {column.name: column for column in frame.get_columns()}
    columns |= series_of(maps, faults, origin=origin) | series_of(others, faults, origin=origin)
    whole = pl.DataFrame({name: columns[name] for name in names})
    if not faults:
        return whole
    native = frame.to_arrow()
    seen = {name: others[name] if name in by_arrow else native[name] for name in names}
    return faults_marked(whole, faults, pa.table(seen))


# ---- 96-bit timestamps -------------------------------------------------------------------------------------------------------


def _with_exact_timestamps(part: RowRange, frame: pl.DataFrame, faults: dict[int, str]) -> pl.DataFrame:
    """The frame, with 96-bit timestamps in microseconds where some are out of the range of nanoseconds."""
    for name in part.names(Reader.INT96):
        ticks, rows = _ticks(frame[name].to_arrow())
        is_beyond = ticks == _TICKS_OUT_OF_RANGE
        if not is_beyond.any():
            continue
        if _holds_map(frame.schema[name]):  # polars reads maps in nanoseconds only
            faults.update(dict.fromkeys(rows[is_beyond].tolist(), f"column {name!r} {_BEYOND}"))
            continue
        exact = _in_microseconds(part, name)
        # Arrow keeps the low 64 bits of the nanoseconds, so a fraction of a microsecond shows in every year.
        whole, _ = _ticks(exact.to_arrow())
        wrapped, _ = _ticks(_by_arrow(part, [name], int96_unit="ns")[name])
        is_finer = whole.view(np.uint64) * np.uint64(1_000) != wrapped.view(np.uint64)
        faults.update(dict.fromkeys(rows[is_finer].tolist(), f"column {name!r} {_FINER}"))
        frame = frame.with_columns(exact)
    return frame


def _in_microseconds(part: RowRange, name: str) -> pl.Series:
    wanted = with_types(part.scan().collect_schema()[name], _microseconds)
    scan = pl.scan_parquet(
        os.fspath(part.file), glob=False, hive_partitioning=False, schema={name: wanted}, extra_columns="ignore"
    )
    return scan.slice(part.offset, part.rows).collect()[name]


def _microseconds(dtype: Any) -> Any:  # noqa: ANN401, polars' stubs know too little of what a nested type holds
    is_finer = isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns"
    return pl.Datetime("us", dtype.time_zone) if is_finer else dtype


def _holds_map(dtype: pl.DataType) -> bool:
    return any(isinstance(inner, pl.Map) for inner in types_in(dtype))


def _ticks(column: Any) -> tuple["np.ndarray[Any, np.dtype[np.int64]]", "np.ndarray[Any, np.dtype[np.int64]]"]:  # noqa: ANN401, an array of any kind
    """All timestamps of a column that are not null, at any depth, and the row of each."""
    ticks, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for leaf, row_of in leaves(column):
        if pa.types.is_timestamp(leaf.type):
            ticks.append(np.asarray(leaf.drop_null().view(pa.int64())))
            rows.append(row_of[np.asarray(leaf.is_valid())])
    return np.concatenate(ticks), np.concatenate(rows)


# ---- by Arrow ----------------------------------------------------------------------------------------------------------------


def _by_arrow(part: RowRange, names: Sequence[str], *, int96_unit: str = "us") -> pa.Table:
    try:
        with pq.ParquetFile(part.file, coerce_int96_timestamp_unit=int96_unit, pre_buffer=False) as parquet:
            footer = parquet.metadata
            group_rows = (footer.row_group(number).num_rows for number in range(footer.num_row_groups))
            starts = list(itertools.accumulate(group_rows, initial=0))
            end = part.offset + part.rows
            groups = [n for n, (a, b) in enumerate(itertools.pairwise(starts)) if b > part.offset and a < end]
            first = starts[groups[0]] if groups else 0
            kept: list[Any] = []
            for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=groups, columns=list(names), use_threads=False):
                kept.append(batch.slice(min(max(part.offset - first, 0), batch.num_rows)))
                first += batch.num_rows
                if first >= end:
                    break
            schema = kept[0].schema if kept else parquet.schema_arrow
    except NotImplementedError as error:
        raise SourceError(
            f"{part.origin}: the columns {list(names)} are of types or encodings that no reader here knows "
            f"({type(error).__name__}); convert them"
        ) from None
    # Batches before the first row give empty slices. For a name with a point, pyarrow reads other columns too.
    return pa.Table.from_batches(kept, schema).slice(0, part.rows).select(list(names))
