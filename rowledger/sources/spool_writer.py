"""Write the spool: the rows of a source that cannot be read twice in place, as Arrow IPC files, one for each chunk.

A file is durable before its descriptor is returned. Its bytes depend only on its rows, so the same rows have the same digest in
every run: what Arrow does not define (values under nulls, slices, the order of a dictionary) is made canonical before writing.
Workers read these files and never import this module.
"""

import io
from collections.abc import Generator, Iterable, Iterator
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import xxhash

from rowledger.contract import arrow_table
from rowledger.errors import SourceError
from rowledger.sources.canonical_arrays import canonical
from rowledger.sources.chunking import CHUNK_BYTES_MAX
from rowledger.sources.file_identity import file_status
from rowledger.sources.rows_digest import RowsDigest
from rowledger.sources.spool_files import spool_file
from rowledger.sources.spool_reader import SPOOL_FORMAT
from rowledger.spec import ABSENT_PREFIX, RESERVED_PREFIX, ChunkDescriptor, SourceContext

__all__ = ["Spool"]


class Spool:
    """Writes the chunks of one partition into `scope.spool_dir`."""

    def __init__(self, scope: SourceContext, *, chunk_bytes_max: int = CHUNK_BYTES_MAX) -> None:
        self._scope = scope
        self._chunk_bytes_max = chunk_bytes_max
        self._files = 0
        self._rows_digest = RowsDigest()

    def write(self, frames: Iterable[pl.DataFrame | pa.Table | None], *, origin: str) -> Iterator[ChunkDescriptor]:
        """Yield a descriptor for each chunk of the frames, all of them from `origin`, as soon as the chunk is durable.

        A chunk ends at `chunk_rows_max` rows, at `chunk_bytes_max` of Arrow data, at a None among the frames, and where the
        frames' columns or their types change; reserved columns may differ. A generator of frames is closed with this
        generator. Arrow tables must have types that polars writes without views, and no dictionaries. Raises SourceError
        and NotEnoughSpace.
        """
        origin_row = 0
        try:
            for table in self._cut(frames):
                yield self._write_file(table, origin, origin_row)
                origin_row += table.num_rows
        finally:
            if isinstance(frames, Generator):
                frames.close()

    def _cut(self, frames: Iterable[pl.DataFrame | pa.Table | None]) -> Iterator[pa.Table]:
        """The same rows, in one table for each chunk."""
        pending: list[pa.Table] = []
        rows = size = 0
        for frame in frames:
            table = _as_table(frame) if isinstance(frame, pl.DataFrame) else frame
            if pending and (table is None or (table.num_rows and _own_columns(table) != _own_columns(pending[0]))):
                yield _joined(pending)
                pending, rows, size = [], 0, 0
            if table is None:
                continue
            row_bytes = 1 + table.nbytes // max(table.num_rows, 1)
            while table.num_rows:
                room = min(self._scope.chunk_rows_max - rows, (self._chunk_bytes_max - size) // row_bytes)
                if room > 0 or not pending:
                    part = table.slice(0, max(room, 1))  # a row that is larger than a chunk becomes one
                    table = table.slice(part.num_rows)
                    pending.append(part)
                    rows, size = rows + part.num_rows, size + part.nbytes
                if rows >= self._scope.chunk_rows_max or size + row_bytes > self._chunk_bytes_max:
                    yield _joined(pending)
                    pending, rows, size = [], 0, 0
        if pending:
            yield _joined(pending)

    def _write_file(self, table: pa.Table, origin: str, origin_row: int) -> ChunkDescriptor:
        batch = _canonical_batch(table)
        with spool_file(self._scope, f"{self._files:08}.arrow", batch.nbytes) as (file, stream):
            hashed = _Hashed(stream)
            with pa.ipc.new_file(hashed, batch.schema) as writer:
                writer.write_batch(batch)
        self._files += 1
        self._rows_digest.add(batch)
        return ChunkDescriptor(
            path=str(file),
            **file_status(file)._asdict(),
            file_digest=hashed.digest.hexdigest(),
            row_offset=0,
            rows=table.num_rows,
            rows_digest=self._rows_digest.hexdigest(),
            origin=origin,
            origin_row=origin_row,
        )


class _Hashed(io.RawIOBase):
    """A stream with the digest of what was written to it. Its flush and close leave the given stream to its owner."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = xxhash.xxh3_128()

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:  # noqa: ANN401, whatever has a buffer
        self.digest.update(content)
        return self._stream.write(content)

    def tell(self) -> int:
        return self._stream.tell()


# ---- tables that can be concatenated ----------------------------------------------------------------------------------------


def _as_table(frame: pl.DataFrame) -> pa.Table:
    """The frame as Arrow data, in types that have one canonical form in a file; the values do not change."""
    try:
        casts: dict[Any, Any] = {
            name: plain for name, dtype in frame.schema.items() if (plain := _plain(dtype)) != dtype
        }
        return arrow_table(frame.cast(casts), compat_level=pl.CompatLevel.oldest())
    except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, NotImplementedError) as error:
        kinds = ", ".join(sorted({str(dtype) for dtype in frame.dtypes}))
        raise SourceError(
            f"columns of the types {kinds} cannot be spooled ({type(error).__name__}); convert them in the source"
        ) from None


def _plain(dtype: pl.DataType) -> pl.DataType:
    match dtype:
        case pl.Object():
            raise NotImplementedError  # polars would write pointers
        case pl.Categorical() | pl.Enum():
            return pl.String()
        case pl.List() | pl.Array():
            return pl.List(_plain(dtype.inner))  # type: ignore[arg-type]
        case pl.Struct():
            return pl.Struct({field.name: _plain(field.dtype) for field in dtype.fields})  # type: ignore[arg-type]
    return dtype


def _own_columns(table: pa.Table) -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in table.schema if not field.name.startswith(RESERVED_PREFIX)]


def _joined(tables: list[pa.Table]) -> pa.Table:
    """One table; a reserved column that some tables lack is null in their rows."""
    return pa.concat_tables(tables, promote_options="default")


# ---- bytes that depend only on the rows -------------------------------------------------------------------------------------


def _canonical_batch(table: pa.Table) -> pa.RecordBatch:
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        array = column.combine_chunks()
        if field.name.startswith(ABSENT_PREFIX):
            array = array.fill_null(False)  # noqa: FBT003, rows of a table that lacks the column lack nothing
        columns.append(canonical(array))
    fields = [pa.field(name, column.type) for name, column in zip(table.column_names, columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, metadata=SPOOL_FORMAT))
