"""Write the spool: the rows of a source that cannot be read twice in place, as Arrow IPC files, one for each chunk.

A file is complete before its descriptor is returned. Its bytes depend only on its rows, so the same rows have the same digest
in every run: what Arrow does not define (values under nulls, slices, the order of a dictionary) is made canonical before
writing. Rows are written in batches of a fixed size as they come, so a chunk is never in memory as a whole. Workers read these
files and never import this module.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from rowledger.contract import arrow_table
from rowledger.errors import SourceError
from rowledger.sources.canonical_arrays import Array, canonical, marks
from rowledger.sources.chunk_file import ChunkFile
from rowledger.sources.chunking import CHUNK_BYTES_MAX
from rowledger.sources.file_identity import file_status
from rowledger.sources.rows_digest import RowsDigest
from rowledger.spec import ABSENT_PREFIX, RESERVED_PREFIX, ChunkDescriptor, SourceContext

__all__ = ["SplitBatch", "Spool"]

_nulls: Any = pa.nulls

_BATCH_ROWS = 16_384
_BATCH_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class SplitBatch:
    """Rows of a batch whose first rows were spooled before the others had come.

    The types of columns that are made of Python values depend on the values of a whole batch. So the digest is that of
    `so_far`, all rows of the batch that have come, in the types that they have together. `rows` are those not spooled yet.
    """

    rows: pa.Table
    so_far: pa.Table
    is_complete: bool


Frame = pl.DataFrame | pa.Table | SplitBatch | None


class Spool:
    """Writes the chunks of one partition into `scope.spool_dir`."""

    def __init__(self, scope: SourceContext, *, chunk_bytes_max: int = CHUNK_BYTES_MAX) -> None:
        self._scope = scope
        self._chunk_bytes_max = chunk_bytes_max
        self._files = 0
        self._digest = RowsDigest()
        self._incomplete: pa.Table | None = None
        self._origin, self._origin_row = "", 0
        self._file: ChunkFile | None = None
        self._written_rows = 0
        self._pending: list[pa.Table] = []
        self._pending_rows = self._pending_bytes = 0
        self._rows = self._bytes = 0
        self._is_digested_apart = False

    def write(self, frames: Iterable[Frame], *, origin: str) -> Iterator[ChunkDescriptor]:
        """Yield a descriptor for each chunk of the frames, all of them from `origin`, as soon as its file is complete.

        A chunk ends at `chunk_rows_max` rows, at `chunk_bytes_max` of Arrow data, at a None among the frames, and where the
        frames' columns or their types change; reserved columns may differ. A generator of frames is closed with this
        generator. A frame's memory may change after the next one was asked for; that of an Arrow table may not. Arrow tables
        must have types that polars writes without views, and no dictionaries. Raises SourceError and NotEnoughSpace.
        """
        self._origin, self._origin_row = origin, 0
        try:
            for frame in frames:
                match frame:
                    case None:
                        yield from self._end_chunk()
                    case SplitBatch():
                        yield from self._add_split(frame)
                    case pl.DataFrame():
                        yield from self._add(_as_table(frame))
                        self._pending = [_copy(table) for table in self._pending]
                    case _:
                        yield from self._add(frame)
                del frame  # its memory is wanted for the next one
            yield from self._end_chunk()
        finally:
            if self._file is not None:
                self._file.abandon()
                self._file = None
            if isinstance(frames, Generator):
                frames.close()

    def _add_split(self, batch: SplitBatch) -> Iterator[ChunkDescriptor]:
        yield from self._write_pending()
        if batch.is_complete:
            self._incomplete = None
            self._digest.add(_canonical_batch(batch.so_far))
        else:
            self._incomplete = batch.so_far
        self._is_digested_apart = True
        yield from self._add(batch.rows)
        yield from self._write_pending()
        self._is_digested_apart = False

    def _add(self, table: pa.Table) -> Iterator[ChunkDescriptor]:
        if self._pending and table.num_rows and _own_columns(table) != _own_columns(self._pending[0]):
            yield from self._end_chunk()
        row_bytes = 1 + table.nbytes // max(table.num_rows, 1)
        while table.num_rows:
            room = min(self._scope.chunk_rows_max - self._rows, (self._chunk_bytes_max - self._bytes) // row_bytes)
            if room > 0 or not self._rows:
                room = min(room, _BATCH_ROWS - self._pending_rows, (_BATCH_BYTES - self._pending_bytes) // row_bytes)
                room = max(room, 1)  # a row larger than a chunk becomes one
                part, table = table.slice(0, room), table.slice(room)
                part_bytes = part.nbytes
                self._pending.append(part)
                self._pending_rows, self._pending_bytes = (
                    self._pending_rows + part.num_rows,
                    self._pending_bytes + part_bytes,
                )
                self._rows, self._bytes = self._rows + part.num_rows, self._bytes + part_bytes
            if self._rows >= self._scope.chunk_rows_max or self._bytes + row_bytes > self._chunk_bytes_max:
                yield from self._end_chunk()
            elif self._pending_rows >= _BATCH_ROWS or self._pending_bytes >= _BATCH_BYTES:
                yield from self._write_pending()

    def _write_pending(self) -> Iterator[ChunkDescriptor]:
        """Write the pending rows as a batch; a file whose columns are others is ended before."""
        if not self._pending:
            return
        table = (
            pa.concat_tables(self._pending, promote_options="default") if len(self._pending) > 1 else self._pending[0]
        )
        batch = _canonical_batch(table)
        if self._file is not None:
            batch = _with_reserved_columns(batch, self._file.schema)
            if batch.schema != self._file.schema:
                yield self._end_file(self._file)
        if not self._is_digested_apart:
            self._digest.add(batch)
        if self._file is None:
            self._file = ChunkFile(self._scope, f"{self._files:08}.arrow", batch.schema, batch.nbytes)
        self._file.write(batch)
        self._written_rows += batch.num_rows
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0

    def _end_chunk(self) -> Iterator[ChunkDescriptor]:
        yield from self._write_pending()
        if self._file is not None:
            yield self._end_file(self._file)
        self._rows = self._bytes = 0

    def _end_file(self, file: ChunkFile) -> ChunkDescriptor:
        self._file = None
        file_digest = file.complete()
        descriptor = ChunkDescriptor(
            path=str(file.path),
            **file_status(file.path)._asdict(),
            file_digest=file_digest,
            row_offset=0,
            rows=self._written_rows,
            rows_digest=self._rows_digest(),
            origin=self._origin,
            origin_row=self._origin_row,
        )
        self._files += 1
        self._origin_row += self._written_rows
        self._rows, self._bytes = self._pending_rows, self._pending_bytes
        self._written_rows = 0
        return descriptor

    def _rows_digest(self) -> str:
        if self._incomplete is None:
            return self._digest.hexdigest()
        digest = self._digest.copy()
        digest.add(_canonical_batch(self._incomplete))
        return digest.hexdigest()


# ---- tables that can be concatenated ----------------------------------------------------------------------------------------


def _as_table(frame: pl.DataFrame) -> pa.Table:
    """The frame as Arrow data, in types that have one canonical form in a file; the values do not change."""
    try:
        casts: dict[Any, Any] = {
            name: plain for name, dtype in frame.schema.items() if (plain := _plain(dtype)) != dtype
        }
        return arrow_table(frame.cast(casts) if casts else frame, compat_level=pl.CompatLevel.oldest())
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


def _copy(table: pa.Table) -> pa.Table:
    """The same rows in memory of their own."""
    batches = table.combine_chunks().to_batches()
    return pa.Table.from_batches([pa.ipc.read_record_batch(batch.serialize(), batch.schema) for batch in batches])


# ---- bytes that depend only on the rows -------------------------------------------------------------------------------------


def _canonical_batch(table: pa.Table) -> pa.RecordBatch:
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        array = column.combine_chunks()
        if field.name.startswith(ABSENT_PREFIX):
            array = marks(array)  # rows of a table that lacks the column lack nothing
        columns.append(canonical(array))
    return pa.RecordBatch.from_arrays(columns, names=table.column_names)


def _with_reserved_columns(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with the reserved columns that only the other rows of the file have: null, or false for what is absent."""
    if batch.schema == schema or not set(batch.schema.names) <= set(schema.names):
        return batch
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for field in schema:
        if field.name not in columns and field.name.startswith(RESERVED_PREFIX):
            missing: Array = _nulls(batch.num_rows, field.type)
            columns[field.name] = canonical(marks(missing) if field.name.startswith(ABSENT_PREFIX) else missing)
    if columns.keys() != set(schema.names):
        return batch
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], names=schema.names)
