"""Read the spool, which `spool_writer` writes."""

from pathlib import Path

import polars as pl
import pyarrow as pa

from rowledger.contract import polars_series
from rowledger.counted import counted
from rowledger.errors import SourceError
from rowledger.sources.file_identity import as_planned
from rowledger.sources.system_errors import system_refusal
from rowledger.spec import ChunkDescriptor

__all__ = ["SPOOL_FORMAT", "read_spooled", "spooled_schema"]

SPOOL_FORMAT: dict[bytes | str, bytes | str] = {b"rowledger.spool": b"1"}
"""The metadata of a spooled file's schema."""
_REMEDY = "rerun to spool it anew"


def read_spooled(descriptor: ChunkDescriptor) -> pl.DataFrame:
    """All rows of a spooled chunk; raises SourceError when its file is missing or has changed since it was written."""
    with as_planned(descriptor) as file:
        frame = _read(file, rows=True, origin=descriptor.path)
    if frame.height != descriptor.rows:
        raise SourceError(
            f"{descriptor.path}: {counted(frame.height, 'row')}, spooled were {descriptor.rows}; rerun to spool them anew"
        )
    return frame


def spooled_schema(descriptor: ChunkDescriptor) -> pl.Schema:
    """Names and types of the columns of a spooled chunk, from the head of its file; raises SourceError."""
    return _read(Path(descriptor.path), rows=False, origin=descriptor.path).schema


def _read(file: Path, *, rows: bool, origin: str) -> pl.DataFrame:
    try:
        # Not memory-mapped: a mapped file that shrinks crashes the process that reads it.
        with pa.OSFile(str(file), "rb") as stream, pa.ipc.open_file(stream) as reader:
            version = reader.schema.metadata
            if version == SPOOL_FORMAT:
                table = reader.read_all() if rows else reader.schema.empty_table()
                columns = zip(table.column_names, table.columns, strict=True)
                series = {name: polars_series(name, column) for name, column in columns}
                return pl.DataFrame(series, height=table.num_rows)
    except (OSError, UnicodeError, pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        damaged = f"not a readable file of the spool ({type(error).__name__}); {_REMEDY}"
        why = system_refusal(error, when_missing=_REMEDY) or damaged
        raise SourceError(f"{origin}: {why}") from None
    raise SourceError(f"{origin}: not a file of this version's spool; rerun to spool it anew")
