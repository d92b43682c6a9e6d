"""The rows of a chunk of a Parquet file: by polars, and what polars does not give exactly by Arrow, column by column.

A file is called damaged only when neither can read a column of it.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa

from rowledger.errors import SourceError
from rowledger.sources.system_errors import system_refusal

__all__ = ["RowRange", "read_rows", "schema_of", "unreadable"]

_BATCH_ROWS = 16_384
_ARROW, _INT96, _UUID, _BYTES_16 = "arrow", "int96", "uuid", "bytes_16"
_TICKS_OUT_OF_RANGE = 2**63 - 1
_FAILED_IN_POLARS = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
_FAILED_IN_ARROW = (OSError, pa.ArrowException, NotImplementedError, ValueError)
_FINER = (
    "has a timestamp of 96 bits that is not a whole number of microseconds, beside others that nanoseconds do not reach"
)
_BEYOND = "has a timestamp of 96 bits in a map that nanoseconds do not reach"


@dataclass(frozen=True, slots=True)
class RowRange:
    """Rows `offset` to `offset + rows - 1` of a file, and how its columns are read, as `column_readers` has it."""

    file: Path
    offset: int
    rows: int
    readers: Mapping[str, str]

    def names(self, reader: str) -> list[str]:
        return [name for name, given in self.readers.items() if given == reader]


def unreadable(*errors: BaseException) -> str:
    """Why a file cannot be read. The readers' own texts may quote what they read, so only the kind of error is passed on."""
    for error in errors:
        if refusal := system_refusal(error):
            return refusal
    told = " ".join(map(str, errors))
    if "crypt" in told:  # pyarrow says "encrypted", "decrypt" or "decryption", polars "Encryption"
        return "is encrypted, and no key is known here; write it in the clear"
    if "Compression" in told:
        return "is compressed in a way that is not known here; write it with snappy, gzip, brotli, lz4 or zstd"
    return f"not a readable Parquet file ({type(errors[-1]).__name__}): truncated, damaged or of another format; write it again"


def schema_of(file: Path, readers: Mapping[str, str]) -> pl.Schema:
    """Names and types of the columns that `read_rows` gives; raises SourceError."""
    return read_rows(RowRange(file, 0, 0, readers)).schema


def read_rows(part: RowRange) -> pl.DataFrame:
    """The rows; those that cannot be read have their reason in `FAULT`. Raises SourceError."""
    failed: list[BaseException] = []
    try:
        return _read(part, failed)
    except (*_FAILED_IN_POLARS, *_FAILED_IN_ARROW) as error:
        raise SourceError(f"{part.file}: {unreadable(*failed, error)}") from None


def _read(part: RowRange, failed: list[BaseException]) -> pl.DataFrame:
    """Why polars could not read a column is added to `failed`."""
    with part.file.open("rb"):
        pass
    try:
        scan = _scan(part.file)
        if not part.readers:
            return scan.slice(part.offset, part.rows).collect()  # polars skips the row groups before and after them
        names = scan.collect_schema().names()
        by_arrow = set(part.names(_ARROW))
        frame = _by_polars(part, [name for name in names if name not in by_arrow])
    except _FAILED_IN_POLARS as error:
        if system_refusal(error):
            raise
        failed.append(error)
        return _column_by_column(part, failed)
    return _put_together(part, names, frame)


def _scan(file: Path) -> pl.LazyFrame:
    return pl.scan_parquet(os.fspath(file), glob=False, hive_partitioning=False)


def _by_polars(part: RowRange, names: Sequence[str]) -> pl.DataFrame:
    if not names:
        return pl.DataFrame()
    return _scan(part.file).slice(part.offset, part.rows).select(cs.by_name(*names)).collect()


def _column_by_column(part: RowRange, failed: list[BaseException]) -> pl.DataFrame:
    """The rows where polars fails for the file as a whole, or for some column of it."""
    try:
        names = _scan(part.file).collect_schema().names()
    except _FAILED_IN_POLARS:
        names = []
    native: dict[str, pl.Series] = {}
    for name in names:
        try:
            if part.readers.get(name) != _ARROW:
                native[name] = _by_polars(part, [name])[name]
        except _FAILED_IN_POLARS as error:
            failed.append(error)
            if part.readers.get(name) == _INT96:
                raise
    return _put_together(part, names or _names_by_arrow(part.file), pl.DataFrame(native))


def _put_together(part: RowRange, names: Sequence[str], frame: pl.DataFrame) -> pl.DataFrame:
    """One frame of the columns that polars has read, and of the others, which Arrow reads, in the file's order."""
    from rowledger.sources.arrow_frames import faults_marked, series_of, with_uuids_marked  # noqa: PLC0415, rarely needed; a worker's start is measured

    origin, faults = str(part.file), dict[int, str]()
    frame = _with_exact_timestamps(part, frame, faults)
    for kind, mark in ((pa.uuid(), _UUID), (pa.binary(16), _BYTES_16)):
        found = [name for name in part.names(mark) if name in frame.columns]
        frame = frame.with_columns(with_uuids_marked(frame[name], kind) for name in found)
    maps = frame.select([name for name, dtype in frame.schema.items() if _holds_map(dtype)]).to_arrow()
    by_arrow = [name for name in names if name not in frame.columns]
    tables = [maps, _by_arrow(part, by_arrow)] if by_arrow else [maps]
    columns = {column.name: column for column in frame.get_columns()}
    for table in tables:
        columns |= {column.name: column for column in series_of(table, faults, origin=origin)}
    whole = pl.DataFrame({name: columns[name] for name in names})
    if not faults:
        return whole
    read = [frame.to_arrow(), *tables[1:]]
    seen = {name: column for table in read for name, column in zip(table.column_names, table.columns, strict=True)}
    return faults_marked(whole, faults, pa.table({name: seen[name] for name in names}))


# ---- timestamps of 96 bits ---------------------------------------------------------------------------------------------------


def _with_exact_timestamps(part: RowRange, frame: pl.DataFrame, faults: dict[int, str]) -> pl.DataFrame:
    """The frame, with timestamps of 96 bits in microseconds where some are beyond the reach of nanoseconds."""
    for name in part.names(_INT96):
        ticks, rows = _ticks(frame[name].to_arrow())
        is_beyond = ticks == _TICKS_OUT_OF_RANGE
        if not is_beyond.any():
            continue
        if _holds_map(frame.schema[name]):  # for which polars knows nanoseconds alone
            faults.update(dict.fromkeys(rows[is_beyond].tolist(), f"column {name!r} {_BEYOND}"))
            continue
        exact = _in_microseconds(part, name)
        # Arrow drops the bits above 64 of the nanoseconds, so what is below a microsecond shows in any year.
        whole, _ = _ticks(exact.to_arrow())
        wrapped, _ = _ticks(_by_arrow(part, [name], int96_unit="ns")[name])
        is_finer = whole.view(np.uint64) * np.uint64(1_000) != wrapped.view(np.uint64)
        faults.update(dict.fromkeys(rows[is_finer].tolist(), f"column {name!r} {_FINER}"))
        frame = frame.with_columns(exact)
    return frame


def _in_microseconds(part: RowRange, name: str) -> pl.Series:
    wanted = _microseconds(_scan(part.file).collect_schema()[name])
    scan = pl.scan_parquet(
        os.fspath(part.file), glob=False, hive_partitioning=False, schema={name: wanted}, extra_columns="ignore"
    )
    return scan.slice(part.offset, part.rows).collect()[name]


def _microseconds(dtype: Any) -> Any:  # noqa: ANN401, polars' stubs know too little of what a nested type holds
    match dtype:
        case pl.List():
            return pl.List(_microseconds(dtype.inner))
        case pl.Array():
            return pl.Array(_microseconds(dtype.inner), dtype.size)
        case pl.Struct():
            return pl.Struct({field.name: _microseconds(field.dtype) for field in dtype.fields})
        case pl.Datetime(time_unit="ns"):
            return pl.Datetime("us", dtype.time_zone)
    return dtype


def _holds_map(dtype: Any) -> bool:  # noqa: ANN401, as above
    match dtype:
        case pl.List() | pl.Array():
            return _holds_map(dtype.inner)
        case pl.Struct():
            return any(_holds_map(field.dtype) for field in dtype.fields)
    return isinstance(dtype, pl.Map)


def _ticks(column: Any) -> tuple["np.ndarray[Any, np.dtype[np.int64]]", "np.ndarray[Any, np.dtype[np.int64]]"]:  # noqa: ANN401, an array of any kind
    """All timestamps of a column at any depth that are not null, and the row of each."""
    from rowledger.sources.unrepresentable_values import leaves  # noqa: PLC0415, as above

    ticks, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for leaf, row_of in leaves(column):
        if pa.types.is_timestamp(leaf.type):
            ticks.append(np.asarray(leaf.drop_null().view(pa.int64())))
            rows.append(row_of[np.asarray(leaf.is_valid())])
    return np.concatenate(ticks), np.concatenate(rows)


# ---- by Arrow ----------------------------------------------------------------------------------------------------------------


def _by_arrow(part: RowRange, names: Sequence[str], *, int96_unit: str = "us") -> pa.Table:
    import pyarrow.parquet as pq  # noqa: PLC0415, rarely needed, and a worker's start is measured

    offset, rows = part.offset, part.rows
    try:
        with pq.ParquetFile(part.file, coerce_int96_timestamp_unit=int96_unit, pre_buffer=False) as parquet:
            footer = parquet.metadata
            groups: list[int] = []
            first = start = 0
            for number in range(footer.num_row_groups):
                end = start + footer.row_group(number).num_rows
                if end > offset and start < offset + rows:
                    first = start if not groups else first
                    groups.append(number)
                start = end
            kept: list[Any] = []
            for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=groups, columns=list(names), use_threads=False):
                kept.append(batch.slice(min(max(offset - first, 0), batch.num_rows)))
                first += batch.num_rows
                if first >= offset + rows:
                    break
            schema = kept[0].schema if kept else parquet.schema_arrow
    except NotImplementedError as error:
        raise SourceError(
            f"{part.file}: the columns {list(names)} are of types or encodings that no reader here knows "
            f"({type(error).__name__}); convert them"
        ) from None
    # Slices of batches that end before the first row are empty. A name with a point brings more columns than its own.
    return pa.Table.from_batches(kept, schema).slice(0, rows).select(list(names))


def _names_by_arrow(file: Path) -> list[str]:
    import pyarrow.parquet as pq  # noqa: PLC0415, as above

    return list(pq.read_schema(file).names)
