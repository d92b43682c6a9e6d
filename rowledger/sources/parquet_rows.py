"""Read a chunk of a Parquet file: with polars alone where it reads every column exactly."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa

from rowledger.errors import SourceError
from rowledger.sources.parquet_scan import FAILED_IN_POLARS, RowRange, unreadable
from rowledger.sources.system_errors import system_refusal

__all__ = ["read_rows", "schema_of"]

_FAILED_IN_ARROW = (OSError, pa.ArrowException, NotImplementedError, ValueError)


def schema_of(file: Path, readers: Mapping[str, str]) -> pl.Schema:
    """Names and types of the columns that `read_rows` returns; raises SourceError."""
    return read_rows(RowRange(file, 0, 0, readers)).schema


def read_rows(part: RowRange) -> pl.DataFrame:
    """The rows; a row that cannot be read has its reason in `FAULT`. Raises SourceError."""
    failed: list[BaseException] = []
    try:
        return _read(part, failed)
    except (*FAILED_IN_POLARS, *_FAILED_IN_ARROW) as error:
        raise SourceError(f"{part.file}: {unreadable(*failed, error)}") from None


def _read(part: RowRange, failed: list[BaseException]) -> pl.DataFrame:
    """The rows; errors of polars are added to `failed`."""
    with part.file.open("rb"):
        pass
    if not part.readers:
        try:
            # polars skips the row groups outside the slice.
            return part.scan().slice(part.offset, part.rows).collect()
        except FAILED_IN_POLARS as error:
            if system_refusal(error):
                raise
            failed.append(error)
    from rowledger.sources.parquet_by_column import read_by_column  # noqa: PLC0415, rarely needed; a worker's start is measured

    return read_by_column(part, failed)
