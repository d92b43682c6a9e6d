"""Chunks of several small files: a transaction costs more than to read a few rows, so files of one partition share it."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import xxhash

from rowledger.errors import SourceError
from rowledger.sources.chunking import CHUNK_BYTES_MAX
from rowledger.spec import ABSENT_PREFIX, RESERVED_PREFIX, ChunkDescriptor, Source

if TYPE_CHECKING:  # who plans chunks reads no rows
    import polars as pl

__all__ = ["join_small", "read_chunk"]

_FILES_MIN = 64  # of a partition; of fewer each is a chunk, so that all workers have some
_FILES_MAX = 256  # of a chunk, so that the ledger's entry of a chunk stays small
_BYTES_MAX = 4 * 2**20  # of a chunk's files, which may be compressed


def join_small(
    source: Source,
    descriptors: Sequence[ChunkDescriptor],
    rows_max: int,
    schema_of: "Callable[[ChunkDescriptor], pl.Schema]",
) -> tuple[ChunkDescriptor, ...]:
    """The same rows in the same order, where there are many small files with those of several files in one chunk.

    Only files with the same columns share a chunk. Which ones do depends on the files alone, so a rerun finds the same chunks.
    """
    if not source.files_may_join or len({one.path for one in descriptors}) < _FILES_MIN:
        return tuple(descriptors)
    return tuple(_joined(run) for run in _runs(descriptors, rows_max, schema_of))


def _runs(
    descriptors: Sequence[ChunkDescriptor], rows_max: int, schema_of: "Callable[[ChunkDescriptor], pl.Schema]"
) -> Iterator[list[ChunkDescriptor]]:
    run = list(descriptors[:1])
    rows, size, data_size = run[0].rows, run[0].file_bytes, run[0].data_bytes
    for before, one in pairwise(descriptors):
        rows, size, data_size = rows + one.rows, size + one.file_bytes, data_size + one.data_bytes
        is_small = rows <= rows_max and size <= _BYTES_MAX and data_size <= CHUNK_BYTES_MAX and len(run) < _FILES_MAX
        if is_small and before.column_readers == one.column_readers and _is_same(schema_of(before), schema_of(one)):
            run.append(one)
            continue
        yield run
        run, rows, size, data_size = [one], one.rows, one.file_bytes, one.data_bytes
    yield run


def _is_same(one: "pl.Schema", other: "pl.Schema") -> bool:
    """Whether frames of both have columns of the same names and types, in the same order."""
    return list(one.items()) == list(other.items())


def _joined(parts: Sequence[ChunkDescriptor]) -> ChunkDescriptor:
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return first
    identity = "\n".join(f"{one.file_digest}|{one.file_bytes}|{one.row_offset}|{one.rows}" for one in parts)
    return ChunkDescriptor(
        path=first.path,
        file_bytes=sum(one.file_bytes for one in parts),
        file_digest=xxhash.xxh3_128_hexdigest(identity.encode()),
        row_offset=0,
        rows=sum(one.rows for one in parts),
        rows_digest=last.rows_digest,
        origin=first.origin,
        origin_row=first.origin_row,
        parts=tuple(parts),
    )


def read_chunk(source: Source, descriptor: ChunkDescriptor) -> "pl.DataFrame":
    """All rows of a chunk, as `Source.read` gives them; raises SourceError."""
    if not descriptor.parts:
        return source.read(descriptor)
    import polars as pl  # noqa: PLC0415, as above

    frames = [source.read(part) for part in descriptor.parts]
    columns = [[name for name in frame.columns if not name.startswith(RESERVED_PREFIX)] for frame in frames]
    for part, names in zip(descriptor.parts, columns, strict=True):
        if names != columns[0]:
            raise SourceError(f"{part.origin}: its columns have changed since it was planned; rerun")
    # Only frames with a fault have the reserved columns.
    rows = pl.concat(frames, how="diagonal")
    absent = [name for name in rows.columns if name.startswith(ABSENT_PREFIX)]
    return rows.with_columns(pl.col(absent).fill_null(value=False)) if absent else rows
