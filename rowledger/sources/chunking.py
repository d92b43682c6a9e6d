"""Join the parts of a file (row groups, record batches) into chunks, and cut large parts into several chunks."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["CHUNK_BYTES_MAX", "Cut", "FilePart", "cut_into_chunks"]

CHUNK_BYTES_MAX = 64 * 2**20  # uncompressed; a worker needs a few times that while it checks and encodes a chunk


class FilePart(NamedTuple):
    """The rows and the uncompressed bytes that a file declares for one of its parts."""

    rows: int
    data_bytes: int


class Cut(NamedTuple):
    """The rows of a chunk in its file, and about how many uncompressed bytes they have."""

    offset: int
    rows: int
    data_bytes: int


def cut_into_chunks(parts: Sequence[FilePart], chunk_rows_max: int, chunk_bytes_max: int) -> Iterator[Cut]:
    """Each chunk of a file: as many whole parts as fit, or a slice of a part that is too large."""
    offset = pending = pending_bytes = 0
    for rows, data_bytes in parts:
        if pending and (pending + rows > chunk_rows_max or pending_bytes + data_bytes > chunk_bytes_max):
            yield Cut(offset, pending, pending_bytes)
            offset, pending, pending_bytes = offset + pending, 0, 0
        slice_rows = chunk_rows_max
        if data_bytes > chunk_bytes_max:
            slice_rows = max(min(chunk_rows_max, rows * chunk_bytes_max // data_bytes), 1)
        pending, pending_bytes = pending + rows, pending_bytes + data_bytes
        while pending > slice_rows:
            yield Cut(offset, slice_rows, pending_bytes * slice_rows // pending)
            offset, pending = offset + slice_rows, pending - slice_rows
            pending_bytes = pending * data_bytes // rows
    if pending:
        yield Cut(offset, pending, pending_bytes)
