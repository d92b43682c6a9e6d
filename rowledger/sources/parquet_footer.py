"""Read the footer of a Parquet file and choose each column's reader: polars, which is many times faster, wherever it is exact.

The choice is made once, when a file is planned. The column's type according to polars is compared with the type according to
Arrow. Where they differ, or where polars is known to lose values, Arrow reads the column; polars still reads the others.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from rowledger.contract import frame_type, is_same_type
from rowledger.errors import SourceError
from rowledger.sources.arrow_frames import holds_16_bytes, plain_type, require_names
from rowledger.sources.chunking import FilePart
from rowledger.sources.nested_types import arrow_types_in
from rowledger.sources.parquet_scan import Reader, unreadable
from rowledger.sources.source_file import SourceFile
from rowledger.spec import DECIMAL_DIGITS_MAX, types_in

__all__ = ["planned_row_groups"]

_UUID_BYTES = 16


def planned_row_groups(
    file: SourceFile, *, columns_max: int, row_group_bytes_max: int, hive: Sequence[str]
) -> tuple[list[FilePart], dict[str, str]]:
    """Rows and bytes of each row group, and the columns' readers; raises SourceError for a file that must not be loaded.

    No data is read. `hive` are the names of columns that the file's folders give.
    """
    origin = file.origin
    try:
        with pq.ParquetFile(file.path) as parquet:
            footer, names = parquet.metadata, parquet.schema_arrow.names
            # The metadata of single columns is not read: where a column is encrypted or damaged, pyarrow crashes the process.
            row_groups = (footer.row_group(number) for number in range(footer.num_row_groups))
            groups = [FilePart(group.num_rows, group.total_byte_size) for group in row_groups]
            readers = _column_readers(parquet, file.path, origin)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{origin}: {unreadable(error)}") from None
    require_names(names, origin)
    if footer.num_columns > columns_max:
        raise SourceError(f"{origin}: has {footer.num_columns} columns, the limit is {columns_max} (columns_max)")
    for number, group in enumerate(groups):
        if group.data_bytes > row_group_bytes_max:
            raise SourceError(
                f"{origin}: row group {number} declares {group.data_bytes:,} bytes uncompressed, the limit is "
                f"{row_group_bytes_max:,} (row_group_bytes_max); write it with smaller row groups"
            )
    if (counted := sum(group.rows for group in groups)) != footer.num_rows:
        raise SourceError(
            f"{origin}: declares {footer.num_rows} rows and row groups with {counted}: damaged; write it again"
        )
    if both := sorted(set(hive) & set(names)):
        raise SourceError(
            f"{origin}: the columns {both} are in the file and in the names of its folders; take them out of `hive`"
        )
    return groups, readers


def _column_readers(parquet: pq.ParquetFile, file: Path, origin: str) -> dict[str, str]:
    """The readers of the columns that polars alone cannot read; raises SourceError for a column that no reader can."""
    by_polars = _schema_of_polars(file)
    leaves = (parquet.schema.column(number) for number in range(len(parquet.schema)))
    readers: dict[str, str] = {}
    for field in parquet.schema_arrow:
        own = [next(leaves) for kind in arrow_types_in(field.type) if not kind.num_fields]
        if any(leaf.converted_type == "INTERVAL" for leaf in own):
            raise SourceError(
                f"{origin}: column {field.name!r} is an INTERVAL of Parquet, which cannot be read here; write it as text in "
                "ISO 8601, or as months, days and milliseconds"
            )
        native = by_polars.get(field.name)
        if any(leaf.physical_type == "INT96" for leaf in own):
            if native is None or any(map(_is_lossy, types_in(native))):
                raise SourceError(
                    f"{origin}: column {field.name!r} has timestamps of 96 bits (INT96) in a file or beside a type that polars "
                    "does not read, and Arrow reads those before 1970 wrongly; write them as timestamps of 64 bits"
                )
            readers[field.name] = Reader.INT96
        elif native is None or not _is_exact(native, field.type):
            readers[field.name] = Reader.ARROW
        elif native == pl.Binary() and any(leaf.length == _UUID_BYTES for leaf in own):
            is_uuid = isinstance(field.type, pa.UuidType) or str(own[0].logical_type) == "UUID"
            readers[field.name] = Reader.UUID if is_uuid else Reader.BYTES_16
        elif holds_16_bytes(field.type):
            readers[field.name] = Reader.ARROW  # inside lists and structs, where Arrow's type tells which they are
    return readers


def _schema_of_polars(file: Path) -> dict[str, pl.DataType]:
    """The columns' types according to polars; empty where it fails for one of them, such as one of a new logical type."""
    try:
        return dict(pl.scan_parquet(os.fspath(file), glob=False, hive_partitioning=False).collect_schema())
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return {}  # a file that is damaged or not permitted is reported when its rows are read


def _is_exact(native: pl.DataType, kind: pa.DataType) -> bool:
    if any(_is_lossy(inner) or isinstance(inner, pl.Map) for inner in types_in(native)):
        return False
    if isinstance(native, pl.Categorical | pl.Enum):
        native = pl.String()
    wanted = frame_type(plain_type(kind))
    return wanted is not None and is_same_type(wanted, native)


def _is_lossy(dtype: pl.DataType) -> bool:
    """Whether polars reads some values of the type as nulls, or cannot read the type."""
    return isinstance(dtype, pl.BaseExtension | pl.Time) or (
        isinstance(dtype, pl.Decimal) and dtype.precision > DECIMAL_DIGITS_MAX
    )
