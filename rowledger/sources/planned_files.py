"""Files that workers read in place, as often as needed: planned from what they declare about their parts."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rowledger.errors import SourceError
from rowledger.sources.chunking import CHUNK_BYTES_MAX, FilePart, cut_into_chunks
from rowledger.sources.file_identity import as_planned, file_digest, unchanged
from rowledger.sources.file_source import FileSource
from rowledger.sources.source_file import SourceFile
from rowledger.spec import ChunkDescriptor, Partition, SourceContext

if TYPE_CHECKING:  # who plans files reads no rows
    import polars as pl

__all__ = ["PlannedFiles"]

_ROWS_PER_BYTE_MAX = 10_000  # a file with a single repeated value has about 500


class PlannedFiles(FileSource):
    """A source of such files.

    A descriptor has the digest of the file's bytes, so a file that was replaced between plan and read is noticed even where its
    size is the same.
    """

    files_may_join: ClassVar[bool] = True

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        """Cut the partition's files at their parts; a part that is larger than a chunk is cut into slices."""
        for file in self.files(partition, scope):
            with unchanged(file, while_it_was="planned") as (opened, status):
                parts, column_readers = self._parts(opened)
                _require_plausible_rows(file.origin, status.file_bytes, parts)
                digest = " ".join([file_digest(opened.path, file.origin), *self._values_of_path(file.origin)])
            for cut in cut_into_chunks(parts, scope.chunk_rows_max, CHUNK_BYTES_MAX):
                yield ChunkDescriptor(
                    path=str(file.path),
                    **status._asdict(),
                    file_digest=digest,
                    row_offset=cut.offset,
                    rows=cut.rows,
                    data_bytes=cut.data_bytes,
                    origin=file.origin,
                    origin_row=cut.offset,
                    column_readers=column_readers,
                )

    def read(self, descriptor: ChunkDescriptor) -> "pl.DataFrame":
        of_bytes = descriptor.file_digest.partition(" ")[0]
        with as_planned(descriptor.model_copy(update={"file_digest": of_bytes})) as file:
            frame = self._read_rows(descriptor, file)
        if frame.height != descriptor.rows:
            raise SourceError(
                f"{descriptor.path}: {frame.height} rows from row {descriptor.row_offset} on, planned were {descriptor.rows}; "
                "write the file anew and rerun"
            )
        return frame

    def frame_schema(self, descriptor: ChunkDescriptor) -> "pl.Schema":
        head = descriptor.model_copy(update={"row_offset": 0, "rows": 0})
        return self._read_rows(head, Path(descriptor.path)).schema

    @abstractmethod
    def _parts(self, file: SourceFile) -> tuple[list[FilePart], dict[str, str]]:
        """The file's parts, and the `column_readers` of its chunks; raises SourceError for a file that cannot be read."""

    @abstractmethod
    def _read_rows(self, descriptor: ChunkDescriptor, file: Path) -> "pl.DataFrame":
        """The rows of the chunk, or fewer at the end of the file; messages name it by the descriptor's path."""

    def _values_of_path(self, _origin: str) -> Sequence[str]:
        """What the file's path says about its rows. It is part of the file's identity, as its bytes are."""
        return ()


def _require_plausible_rows(file: str, file_bytes: int, parts: Sequence[FilePart]) -> None:
    """Raise SourceError for impossible figures, before anything is planned or allocated by them."""
    rows = sum(part.rows for part in parts)
    if any(part.rows < 0 or part.data_bytes < 0 for part in parts):
        raise SourceError(f"{file}: declares a number of rows or bytes below zero: damaged; write it again")
    if rows > file_bytes * _ROWS_PER_BYTE_MAX:
        raise SourceError(
            f"{file}: declares {rows:,} rows in {file_bytes:,} bytes, the limit is {_ROWS_PER_BYTE_MAX:,} rows a byte: "
            "damaged; write it again"
        )
