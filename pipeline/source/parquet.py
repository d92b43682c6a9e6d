"""Parquet files as a source: planned from their footers, read again chunk by chunk.

The digest in a descriptor is that of the file's bytes, so a file that was swapped between plan and read is noticed even
where its size is the same.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from pydantic import Field

from pipeline.errors import SourceError
from pipeline.model.division import Partition
from pipeline.model.manifest import ChunkDescriptor
from pipeline.model.source import Scope
from pipeline.source.cuts import CHUNK_BYTES_MAX, FilePart, cut_into_chunks, require_plausible_rows
from pipeline.source.files import FileSource, SourceFile
from pipeline.source.planned import file_digest, file_status, require_as_planned
from pipeline.source.system_refusal import system_refusal

__all__ = ["ParquetFiles"]

_BATCH_ROWS = 16_384
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_TICKS_OUT_OF_RANGE = 2**63 - 1


class ParquetFiles(FileSource):
    """The Parquet files of a partition, in the order of their names.

    `hive` names the keys of folders such as `year=2024` that are columns: text, which the contract reads as the field's type.
    """

    kind: Literal["parquet"] = "parquet"
    hive: tuple[str, ...] = Field(
        default=(), description="Columns taken from the names of the folders, e.g. year from year=2024."
    )
    columns_max: int = Field(
        default=2_000, ge=1, le=100_000, description="Columns a file may have, those inside nested ones counted."
    )
    row_group_bytes_max: int = Field(
        default=16 * 2**30, ge=2**20, description="Uncompressed bytes a row group may declare; more fails the load."
    )

    def chunks(self, partition: Partition, scope: Scope) -> Iterator[ChunkDescriptor]:
        """Cut the partition's files along their row groups; a group that is larger than a chunk is cut into slices."""
        for found in self.files(partition, scope):
            file = found.path
            status = file_status(file)
            row_groups = self._row_groups(found, status[0])
            digest = " ".join([file_digest(file), *_hive_parts(found.origin, self.hive)])
            if (after := file_status(file)) != status:
                raise SourceError(
                    f"{file}: changed while it was planned ({status} to {after}); rerun when it is complete"
                )
            for offset, rows in cut_into_chunks(row_groups, scope.chunk_rows_max, CHUNK_BYTES_MAX):
                yield ChunkDescriptor(
                    path=str(file),
                    file_bytes=status[0],
                    file_mtime_ns=status[1],
                    file_digest=digest,
                    row_offset=offset,
                    rows=rows,
                    origin=found.origin,
                    origin_row=offset,
                )

    def read(self, descriptor: ChunkDescriptor) -> pl.DataFrame:
        file = Path(descriptor.path)
        content = descriptor.model_copy(update={"file_digest": descriptor.file_digest.split(" ", 1)[0]})
        require_as_planned(file, content)
        frame = _read_rows(file, descriptor)
        require_as_planned(file, content)  # again: it may have been replaced in between
        if frame.height != descriptor.rows:
            raise SourceError(
                f"{file}: {frame.height} rows from row {descriptor.row_offset} on, planned were {descriptor.rows}; "
                "write the file anew and rerun"
            )
        return frame.with_columns(
            pl.lit(text, pl.String).alias(name) for name, text in self._hive_values(descriptor).items()
        )

    def frame_schema(self, descriptor: ChunkDescriptor) -> pl.Schema:
        file = Path(descriptor.path)
        try:
            schema = _scan(file).collect_schema()
        except _ONLY_FOR_ARROW:
            schema = _schema_by_arrow(file)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise SourceError(f"{file}: {_unreadable(error)}") from None
        if _is_only_for_arrow(schema):
            schema = _schema_by_arrow(file)
        return pl.Schema({**schema, **dict.fromkeys(self._hive_values(descriptor), pl.String())})

    def _hive_values(self, descriptor: ChunkDescriptor) -> dict[str, str | None]:
        values = (part.partition("=") for part in _hive_parts(descriptor.origin, self.hive))
        return {unquote(name): None if value == _HIVE_NULL else unquote(value) for name, _, value in values}

    def _row_groups(self, file: SourceFile, file_bytes: int) -> list[FilePart]:
        """Rows and bytes of each row group, from the footer; raises SourceError for one that no worker should meet."""
        import pyarrow.parquet as pq  # noqa: PLC0415, workers, which import this module, read without it

        try:
            with pq.ParquetFile(file.path) as parquet:
                footer, names = parquet.metadata, parquet.schema_arrow.names
                # No look at single columns: where they are encrypted or damaged, pyarrow ends the process.
                groups = (footer.row_group(number) for number in range(footer.num_row_groups))
                found = [FilePart(group.num_rows, group.total_byte_size) for group in groups]
        except (OSError, pa.ArrowException) as error:
            raise SourceError(f"{file.origin}: {_unreadable(error)}") from None
        if double := sorted({name for name in names if names.count(name) > 1}):
            raise SourceError(f"{file.origin}: has several columns of the names {double}; write it with one of each")
        self._require_within_limits(file.origin, footer.num_columns, found)
        require_plausible_rows(file.origin, file_bytes, found)
        if (counted := sum(group.rows for group in found)) != footer.num_rows:
            raise SourceError(
                f"{file.origin}: declares {footer.num_rows} rows and row groups with {counted}: damaged; write it again"
            )
        if both := sorted(set(self.hive) & set(names)):
            raise SourceError(
                f"{file.origin}: the columns {both} are in the file and in the names of its folders; take them out of `hive`"
            )
        return found

    def _require_within_limits(self, file: str, columns: int, groups: Sequence[FilePart]) -> None:
        if columns > self.columns_max:
            raise SourceError(f"{file}: has {columns} columns, the limit is {self.columns_max} (columns_max)")
        for number, group in enumerate(groups):
            if group.data_bytes > self.row_group_bytes_max:
                raise SourceError(
                    f"{file}: row group {number} declares {group.data_bytes:,} bytes uncompressed, the limit is "
                    f"{self.row_group_bytes_max:,} (row_group_bytes_max); write it with smaller row groups"
                )


_ONLY_FOR_ARROW = (pl.exceptions.InvalidOperationError, pl.exceptions.PanicException)
"""What polars says, among other things, of a type that it does not have."""


def _hive_parts(origin: str, names: Sequence[str]) -> list[str]:
    """The folder of each name, as it is written: `year=2024`. The innermost counts where there are several."""
    parts = {unquote(part.partition("=")[0]): part for part in origin.split("/")[:-1] if "=" in part}
    if missing := [name for name in names if name not in parts]:
        raise SourceError(f"{origin}: no folder of its path is called {missing[0]}=…, as `hive` of the source says")
    return [parts[name] for name in names]


def _unreadable(error: BaseException) -> str:
    """A library's text may quote what it read, so only the kind of error is passed on."""
    if refusal := system_refusal(error):
        return refusal
    if "crypt" in str(error):  # pyarrow says "encrypted", "decrypt" or "decryption"
        return "is encrypted, and no key is known here; write it in the clear"
    if "Compression" in str(error):
        return "is compressed in a way that is not known here; write it with snappy, gzip, brotli, lz4 or zstd"
    return (
        f"not a readable Parquet file ({type(error).__name__}): truncated, damaged or of another format; write it again"
    )


def _scan(file: Path) -> pl.LazyFrame:
    return pl.scan_parquet(os.fspath(file), glob=False, hive_partitioning=False)


def _read_rows(file: Path, descriptor: ChunkDescriptor) -> pl.DataFrame:
    """Rows `row_offset` to `row_offset + rows - 1`; polars skips the row groups before and behind them."""
    offset, rows = descriptor.row_offset, descriptor.rows
    try:
        with file.open("rb"):
            pass
        frame = _scan(file).slice(offset, rows).collect()
    except _ONLY_FOR_ARROW:
        return _read_by_arrow(file, offset, rows)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SourceError(f"{file}: {_unreadable(error)}") from None
    if _is_only_for_arrow(frame.schema):
        return _read_by_arrow(file, offset, rows)
    if clamped := [name for name in frame.columns if _is_clamped(frame[name])]:
        return _unclamped(file, frame, clamped, offset)
    return frame


def _is_only_for_arrow(schema: pl.Schema) -> bool:
    """Whether polars gives a type that it makes nothing of: an extension type, or more digits than its decimals have."""
    return any(
        isinstance(leaf, pl.BaseExtension | pl.Map)
        or (isinstance(leaf, pl.Decimal) and leaf.precision > pl.Decimal(None).precision)
        for dtype in schema.dtypes()
        for leaf in _leaves(dtype)
    )


def _leaves(dtype: Any) -> Iterator[Any]:  # noqa: ANN401, polars' stubs know too little of what a nested type holds
    match dtype:
        case pl.List() | pl.Array():
            yield from _leaves(dtype.inner)
        case pl.Struct():
            for field in dtype.fields:
                yield from _leaves(field.dtype)
        case _:
            yield dtype


def _is_clamped(values: pl.Series) -> bool:
    """Whether polars has moved INT96 timestamps before 1677 or after 2262 to the end of what nanoseconds reach."""
    return values.dtype == pl.Datetime("ns") and values.to_physical().max() == _TICKS_OUT_OF_RANGE


def _unclamped(file: Path, frame: pl.DataFrame, names: Sequence[str], offset: int) -> pl.DataFrame:
    """The same rows, with those timestamps in microseconds."""
    exact = _read_by_arrow(file, offset, frame.height)
    for name in names:
        ticks = frame[name].to_physical()
        if ((ticks % 1_000 != 0) & (ticks != _TICKS_OUT_OF_RANGE)).any():
            raise SourceError(
                f"{file}: column {name!r} has timestamps beyond what nanoseconds reach, and others with nanoseconds; no one "
                "type holds both: write it with microseconds"
            )
    return frame.with_columns(exact[name] for name in names)


def _read_by_arrow(file: Path, offset: int, rows: int) -> pl.DataFrame:
    import pyarrow.parquet as pq  # noqa: PLC0415, rarely needed, and a worker's start is measured

    from pipeline.source.arrow import frame_of  # noqa: PLC0415, as above

    try:
        with pq.ParquetFile(file, coerce_int96_timestamp_unit="us", pre_buffer=False) as parquet:
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
            for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=groups, use_threads=False):
                kept.append(batch.slice(min(max(offset - first, 0), batch.num_rows)))
                first += batch.num_rows
                if first >= offset + rows:
                    break
            schema = parquet.schema_arrow
    except (OSError, pa.ArrowException, NotImplementedError) as error:
        raise SourceError(f"{file}: {_unreadable(error)}") from None
    # Slices of batches that end before the first row are empty.
    return frame_of(pa.Table.from_batches(kept, kept[0].schema if kept else schema).slice(0, rows), origin=str(file))


def _schema_by_arrow(file: Path) -> pl.Schema:
    import pyarrow.parquet as pq  # noqa: PLC0415, as above

    from pipeline.source.arrow import frame_schema_of  # noqa: PLC0415, as above

    try:
        return frame_schema_of(pq.read_schema(file), origin=str(file))
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{file}: {_unreadable(error)}") from None
