"""Read a chunk of a Parquet file: by polars alone where it reads every column exactly, otherwise column by column."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import polars.selectors as cs
import pyarrow as pa

from rowledger.errors import SourceError
from rowledger.sources.parquet_scan import FAILED_IN_POLARS, Reader, RowRange, unreadable
from rowledger.sources.system_errors import system_refusal
from rowledger.spec import ChunkDescriptor

__all__ = ["read_range", "read_schema"]

_FAILED_IN_ARROW = (OSError, pa.ArrowException, NotImplementedError, ValueError)


def read_range(descriptor: ChunkDescriptor, file: Path, texts: Mapping[str, str | None]) -> pl.DataFrame:
    """The rows of the chunk, which is in `file`, followed by columns that have one text in all rows; raises SourceError."""
    part = RowRange(file, descriptor.path, descriptor.row_offset, descriptor.rows, descriptor.column_readers)
    failed: list[BaseException] = []
    try:
        rows = _read(part, failed)
    except (*FAILED_IN_POLARS, *_FAILED_IN_ARROW) as error:
        raise SourceError(f"{part.origin}: {unreadable(*failed, error)}") from None
    return rows.with_columns(pl.lit(text, pl.String).alias(name) for name, text in texts.items())


def read_schema(descriptor: ChunkDescriptor, texts: Mapping[str, str | None]) -> pl.Schema:
    """The columns of `read_range`, from the footer alone, for a file that polars alone reads; raises SourceError."""
    file = Path(descriptor.path)
    try:
        with file.open("rb"):  # the system's own words, where it refuses
            pass
        schema = RowRange(file, descriptor.path, 0, 0, {}).scan().collect_schema()
    except FAILED_IN_POLARS as error:
        raise SourceError(f"{file}: {unreadable(error)}") from None
    return pl.Schema({**schema, **dict.fromkeys(texts, pl.String())})


def _read(part: RowRange, failed: list[BaseException]) -> pl.DataFrame:
    """The rows; errors of polars are added to `failed`."""
    with part.file.open("rb"):
        pass
    frame: pl.DataFrame | None = None
    try:
        frame = part.by_polars(cs.all() - cs.by_name(*part.names(Reader.ARROW)))
    except FAILED_IN_POLARS as error:
        if system_refusal(error):
            raise
        failed.append(error)
    if frame is not None and not part.readers:
        return frame
    from rowledger.sources.parquet_by_column import read_by_column  # noqa: PLC0415, rarely needed; a worker's start is measured

    return read_by_column(part, frame, failed)
