"""Join the parts of a file (row groups, record batches) into chunks, and cut large parts into several chunks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rowledger.errors import SourceError
from rowledger.sources.file_identity import FileStatus
from rowledger.sources.source_file import SourceFile
from rowledger.spec import ChunkDescriptor

__all__ = ["CHUNK_BYTES_MAX", "FilePart", "chunk_descriptors", "cut_into_chunks", "require_plausible_rows"]

CHUNK_BYTES_MAX = 64 * 2**20  # uncompressed; a worker needs a few times that while it checks and encodes a chunk
_ROWS_PER_BYTE_MAX = 10_000  # a file with a single repeated value has about 500


class FilePart(NamedTuple):
    """The rows and the uncompressed bytes that a file declares for one of its parts."""

    rows: int
    data_bytes: int


def cut_into_chunks(
    parts: Sequence[FilePart], chunk_rows_max: int, chunk_bytes_max: int = CHUNK_BYTES_MAX
) -> Iterator[tuple[int, int]]:
    """Offset and rows of each chunk: as many whole parts as fit, or a slice of a part that is too large."""
    offset = pending = pending_bytes = 0
    for rows, data_bytes in parts:
        if pending and (pending + rows > chunk_rows_max or pending_bytes + data_bytes > chunk_bytes_max):
            yield offset, pending
            offset, pending, pending_bytes = offset + pending, 0, 0
        slice_rows = chunk_rows_max
        if data_bytes > chunk_bytes_max:
            slice_rows = max(min(chunk_rows_max, rows * chunk_bytes_max // data_bytes), 1)
        pending, pending_bytes = pending + rows, pending_bytes + data_bytes
        while pending > slice_rows:
            yield offset, slice_rows
            offset, pending = offset + slice_rows, pending - slice_rows
            pending_bytes = pending * data_bytes // rows
    if pending:
        yield offset, pending


def chunk_descriptors(
    file: SourceFile,
    status: FileStatus,
    digest: str,
    parts: Sequence[FilePart],
    chunk_rows_max: int,
    column_readers: Mapping[str, str] | None = None,
) -> Iterator[ChunkDescriptor]:
    """The chunks of a planned file that workers read in place."""
    for offset, rows in cut_into_chunks(parts, chunk_rows_max, CHUNK_BYTES_MAX):
        yield ChunkDescriptor(
            path=str(file.path),
            **status._asdict(),
            file_digest=digest,
            row_offset=offset,
            rows=rows,
            origin=file.origin,
            origin_row=offset,
            column_readers=dict(column_readers or {}),
        )


def require_plausible_rows(file: str, file_bytes: int, parts: Sequence[FilePart]) -> None:
    """Raise SourceError for impossible figures, before anything is planned or allocated by them."""
    rows = sum(part.rows for part in parts)
    if any(part.rows < 0 or part.data_bytes < 0 for part in parts):
        raise SourceError(f"{file}: declares a number of rows or bytes below zero: damaged; write it again")
    if rows > file_bytes * _ROWS_PER_BYTE_MAX:
        raise SourceError(
            f"{file}: declares {rows:,} rows in {file_bytes:,} bytes, the limit is {_ROWS_PER_BYTE_MAX:,} rows a byte: "
            "damaged; write it again"
        )
