"""A range of rows of a Parquet file as polars reads it, and the meaning of the readers' errors."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import polars as pl
import polars.selectors as cs

from rowledger.sources.system_errors import system_refusal

__all__ = ["FAILED_IN_POLARS", "Reader", "RowRange", "unreadable"]

FAILED_IN_POLARS = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


class Reader(StrEnum):
    """How a column is read that polars alone would not read exactly."""

    ARROW = "arrow"  # polars lacks the type, loses some of its values (24:00), or reads it as another type
    INT96 = "int96"  # 96-bit timestamps: polars is wrong out of the range of nanoseconds, Arrow before 1970
    UUID = "uuid"  # read by polars as bytes, then marked as a UUID
    BYTES_16 = "bytes_16"  # the same for 16 fixed bytes that are not declared as a UUID


@dataclass(frozen=True, slots=True)
class RowRange:
    """Rows `offset` to `offset + rows - 1` of a file, and its columns' readers, from the descriptor's `column_readers`.

    `file` leads to it, and `origin` is its name in messages.
    """

    file: Path
    origin: str
    offset: int
    rows: int
    readers: Mapping[str, str]

    def names(self, reader: str) -> list[str]:
        return [name for name, given in self.readers.items() if given == reader]

    def scan(self) -> pl.LazyFrame:
        """All rows of the file."""
        return pl.scan_parquet(os.fspath(self.file), glob=False, hive_partitioning=False)

    def by_polars(self, columns: cs.Selector) -> pl.DataFrame:
        """These columns of the range; polars skips the row groups outside of it."""
        return self.scan().slice(self.offset, self.rows).select(columns).collect()


def unreadable(*errors: BaseException) -> str:
    """Why a file cannot be read. The libraries' texts may quote what they read, so only the kind of error is passed on."""
    for error in errors:
        if refusal := system_refusal(error):
            return refusal
    told = " ".join(map(str, errors))
    if "crypt" in told:  # pyarrow says "encrypted", "decrypt" or "decryption", polars "Encryption"
        return "is encrypted, and no key is known here; write it in the clear"
    if "Compression" in told:
        return "is compressed in a way that is not known here; write it with snappy, gzip, brotli, lz4 or zstd"
    return f"not a readable Parquet file ({type(errors[-1]).__name__}): truncated, damaged or of another format; write it again"
