"""Text files whose chunks are byte ranges: a quick scan finds the records and counts them, and workers parse their ranges.

Where a file is compressed or in another encoding, the scan writes its text as UTF-8 to the spool, one file for each chunk.
"""

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import xxhash

from rowledger.errors import SourceError
from rowledger.sources.file_identity import unchanged
from rowledger.sources.source_file import SourceFile
from rowledger.sources.system_errors import system_refusal
from rowledger.sources.text_files import ENDINGS, TextFiles
from rowledger.spec import ChunkDescriptor, Partition, SourceContext

if TYPE_CHECKING:  # who declares files reads no rows
    import polars as pl

    from rowledger.sources.text_reading import Text
    from rowledger.sources.text_records import Records, ScannedText

__all__ = ["RangedTextFiles", "records_of", "text_range"]

_BLOCK_BYTES_MAX = 2 * 2**20  # what the scan makes of a block stays in the processor's cache
_REMEDY = "write it again (materialize the asset that makes it, if there is one) and rerun"
_NOT_OF_ROWS = {
    "path", "compression", "encoding", "header", "columns", "skip_lines", "record_bytes_max", "expansion_max", "columns_max",
}  # fmt: skip
"""Settings that do not decide how the text of a row is read. The names of the columns are digested with the rows."""


class RangedTextFiles(TextFiles):
    """A source of such files."""

    is_streamed: ClassVar[bool] = True
    read_at_once_bytes_max: ClassVar[int] = 4 * 2**20
    """Bytes of a partition's files up to which they are read, to find their records, in about 10 ms."""

    def is_read_at_once(self, partition: Partition, landing_dir: Path) -> bool:
        if self.compression in {"gzip", "zstd"} or (self.compression == "auto" and self.path.endswith(ENDINGS)):
            return False
        size = self.local_bytes(partition, landing_dir)
        return size is not None and 0 < size <= self.read_at_once_bytes_max  # a FIFO has no size

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        from rowledger.sources.text_chunks import TextChunks  # noqa: PLC0415, workers import this module and never scan
        from rowledger.sources.text_reading import text_of  # noqa: PLC0415, as above

        settings = self.model_dump_json(exclude=_NOT_OF_ROWS, exclude_defaults=True)
        chunks = TextChunks(scope, f"{type(self).__name__} {settings}")
        for file in self.files(partition, scope):
            with unchanged(file, while_it_was="read") as (opened, _):
                text = text_of(self, opened, block_bytes_max=_BLOCK_BYTES_MAX)
                yield from chunks.cut(file, self._scan(file, text, scope), in_place=text.offset is not None)
            if file.fetched and text.offset is None:
                file.path.unlink()  # its text is in the spool now

    def read(self, descriptor: ChunkDescriptor) -> "pl.DataFrame":
        return self._frame(text_range(descriptor), descriptor)

    @abstractmethod
    def _scan(self, file: SourceFile, text: "Text", scope: SourceContext) -> "Iterator[ScannedText]":
        """All records of a file, without its header, part by part; raises SourceError."""

    @abstractmethod
    def _frame(self, text: bytes, descriptor: ChunkDescriptor) -> "pl.DataFrame":
        """The rows of a chunk's text, as many as were counted; raises SourceError."""


def text_range(descriptor: ChunkDescriptor) -> bytes:
    """The bytes of a chunk, with the digest that they had when it was planned; raises SourceError."""
    assert descriptor.text is not None  # noqa: S101, the sources of this module make only such descriptors
    of_text = descriptor.file_digest.partition(" ")[0]
    return _read_verified(Path(descriptor.path), descriptor.text.offset, descriptor.text.length, of_text)


def records_of(descriptor: ChunkDescriptor) -> "Records | None":
    """The records of a chunk as the scan found them, where the range alone does not show them; raises SourceError."""
    text = descriptor.text
    if text is None or not text.records:
        return None
    from rowledger.sources.text_records import Records  # noqa: PLC0415, few chunks have some

    content = _read_verified(Path(text.records), 0, -1, descriptor.file_digest.partition(" ")[2])
    return Records.from_bytes(content, consumed=text.length)


def _read_verified(file: Path, offset: int, length: int, digest: str) -> bytes:
    try:
        with file.open("rb") as stream:
            stream.seek(offset)
            content = stream.read(length)
    except OSError as error:
        why = system_refusal(error, when_missing=_REMEDY) or type(error).__name__
        raise SourceError(f"{file}: {why}") from None
    if xxhash.xxh3_128_hexdigest(content) != digest:
        raise SourceError(f"{file}: its content changed since it was planned; rerun to plan and load it as it is now")
    return content
