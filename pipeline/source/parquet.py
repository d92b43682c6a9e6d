"""Parquet files as a source: planned from their footers, read again chunk by chunk.

The digest in a descriptor is that of the file's bytes, so a file that was swapped between plan and read is noticed even
where its size is the same.
"""

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from pipeline.errors import SourceError, SpecError
from pipeline.model.manifest import ChunkDescriptor
from pipeline.model.partition import Partition
from pipeline.model.source import Scope, Source
from pipeline.source.planned import file_digest, file_status, require_as_planned

__all__ = ["ParquetFiles"]


class ParquetFiles(Source):
    """The Parquet files of a partition, in the order of their names.

    `path` may hold `{landing}` (the landing folder), `{partition_key}` and the wildcards `*`, `?`, `[…]` and `**`.
    """

    kind: Literal["parquet"] = "parquet"
    path: str = Field(
        min_length=1, description="Template of the files' path, e.g. {landing}/flights/{partition_key}.parquet."
    )

    @field_validator("path")
    @classmethod
    def _known_placeholders(cls, value: str) -> str:
        try:
            value.format(landing="", partition_key="")
        except (KeyError, IndexError, ValueError) as error:
            raise SpecError(
                f"path {value!r}: {error}; the placeholders are {{landing}} and {{partition_key}}"
            ) from None
        return value

    def chunks(self, partition: Partition, scope: Scope) -> Iterator[ChunkDescriptor]:
        """Cut the partition's files along their row groups; a group that is larger than a chunk is cut into slices."""
        for file in self._files(partition.key, scope.landing_dir):
            status = file_status(file)
            row_groups = _row_groups(file)
            digest = file_digest(file)
            if (after := file_status(file)) != status:
                raise SourceError(
                    f"{file}: changed while it was planned ({status} to {after}); rerun when it is complete"
                )
            for offset, rows in _cuts(row_groups, scope.chunk_rows_max):
                yield ChunkDescriptor(
                    path=str(file),
                    file_bytes=status[0],
                    file_mtime_ns=status[1],
                    file_digest=digest,
                    row_offset=offset,
                    rows=rows,
                    origin=str(file),
                    origin_row=offset,
                )

    def read(self, descriptor: ChunkDescriptor) -> pl.DataFrame:
        file = Path(descriptor.path)
        require_as_planned(file, descriptor)
        frame = _read_rows(file, descriptor.row_offset, descriptor.rows)
        require_as_planned(file, descriptor)  # again: it may have been replaced in between
        if frame.height != descriptor.rows:
            raise SourceError(
                f"{file}: {frame.height} rows from row {descriptor.row_offset} on, planned were {descriptor.rows}; "
                "write the file anew and rerun"
            )
        return frame

    def frame_schema(self, descriptor: ChunkDescriptor) -> pl.Schema:
        try:
            return pl.scan_parquet(descriptor.path, glob=False, hive_partitioning=False).collect_schema()
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise SourceError(f"{descriptor.path}: {_unreadable(error)}") from None

    def _files(self, key: str, landing_dir: Path) -> list[Path]:
        if key in {"", ".", ".."} or any(c in key for c in "/\\\0"):
            raise SourceError(f"partition key {key!r} cannot be part of a path: it would leave its folder")
        pattern = self.path.format(landing=glob.escape(str(landing_dir)), partition_key=glob.escape(key))
        found = glob.glob(pattern, recursive=True)  # noqa: PTH207, Path.glob takes no absolute pattern
        files = sorted(Path(name).absolute() for name in found if not Path(name).is_dir())
        if not files:
            # Said without the wildcards' escapes, as a person would write it.
            plain = self.path.format(landing=landing_dir, partition_key=key)
            raise SourceError(
                f"no file {plain}; write it first (materialize the landing asset), or mend the spec's path"
            )
        return files


def _row_groups(file: Path) -> list[int]:
    """Rows of each row group, from the footer."""
    try:
        with pq.ParquetFile(file) as parquet:
            footer = parquet.metadata
            return [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{file}: {_unreadable(error)}") from None


def _unreadable(error: BaseException) -> str:
    """A library's text may quote what it read, so only the kind of error is passed on."""
    if isinstance(error, PermissionError):
        return "permission denied; make it readable for this user"
    return (
        f"not a readable Parquet file ({type(error).__name__}): truncated, damaged or of another format; write it again"
    )


def _cuts(row_groups: list[int], chunk_rows_max: int) -> Iterator[tuple[int, int]]:
    """Offset and rows of each chunk: whole row groups as long as they fit, slices of one that is too large."""
    offset = pending = 0
    for rows in row_groups:
        if pending and pending + rows > chunk_rows_max:
            yield offset, pending
            offset, pending = offset + pending, 0
        pending += rows
        while pending > chunk_rows_max:
            yield offset, chunk_rows_max
            offset, pending = offset + chunk_rows_max, pending - chunk_rows_max
    if pending:
        yield offset, pending


def _read_rows(file: Path, offset: int, rows: int) -> pl.DataFrame:
    """Rows `offset` to `offset + rows - 1`; polars skips the row groups before and behind them."""
    try:
        with file.open("rb"):
            pass
        return pl.scan_parquet(os.fspath(file), glob=False, hive_partitioning=False).slice(offset, rows).collect()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise SourceError(f"{file}: {_unreadable(error)}") from None
