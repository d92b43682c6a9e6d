"""The plan of one partition: its source rows, cut into chunks."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ChunkDescriptor", "ChunkPlan", "Manifest", "TextRange"]


class TextRange(BaseModel):
    """A chunk's bytes in a text file in UTF-8, and what the whole file says about how they are read.

    The chunk is bytes `offset` to `offset + length - 1`; it begins with a record and ends with one, including its line end.
    `columns` are the names of the file's columns, for a format that says them once. `codec` is the encoding that the text had
    before it was converted to UTF-8. `cr_ends_lines` says whether a carriage return alone ends a line. For JSON, `columns`,
    `exact_numbers`, `documents` and `numbers_apart` are those of the `SourceContext`. For rows that a query's COPY has given,
    `types` are the server's types of the columns, and `documents` is that of the `SourceContext`.

    `records` is a file of the spool with the boundaries of the records, where these depend on text outside of the range; the
    digest of its bytes is then the second one in `file_digest`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    offset: int = Field(ge=0)
    length: int = Field(ge=0)
    columns: tuple[str, ...] = ()
    codec: str = "utf-8"
    cr_ends_lines: bool = False
    exact_numbers: bool = True
    documents: tuple[str, ...] | None = ()
    numbers_apart: tuple[str, ...] = ()
    records: str = ""
    types: tuple[str, ...] = ()


class ChunkDescriptor(BaseModel):
    """Where a chunk's rows are: enough for any worker, on any machine that sees the source, to read them.

    The chunk is rows `row_offset` to `row_offset + rows - 1` of the file at `path`, counted from 0. `file_digest` is that of
    the file as planned. Size, modification time, change time and inode let a worker detect a changed file cheaply.
    `data_bytes` is about what the rows have uncompressed, where the file declares that. For rows that are read while they are
    loaded, `rows_digest` is that of the partition's rows up to the chunk's last, whatever the chunk boundaries.

    `origin` and `origin_row` tell the operator where the first row came from: a file, an address or a query, and the row's
    number in it, counted from 0. They differ from `path` and `row_offset` for spooled rows.

    `column_readers` names the reader of each column that the source's usual reader would not read exactly.

    A chunk with a `text` range is those bytes of the file. Its `file_digest` and `file_bytes` are those of the range, so that
    the other fields of the file's status are not needed, and its rows are counted from the range's beginning.

    A chunk with `parts` is their rows, one part after the other; its digest is over theirs, and its other fields but `rows` are
    for messages alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    file_bytes: int = Field(ge=0)
    file_mtime_ns: int = 0
    file_ctime_ns: int = 0
    file_inode: int = 0
    file_digest: str
    row_offset: int = Field(ge=0)
    rows: int = Field(ge=0)
    data_bytes: int = Field(default=0, ge=0)
    rows_digest: str = ""
    origin: str = ""
    origin_row: int = Field(default=0, ge=0)
    column_readers: dict[str, str] = Field(default_factory=dict)
    text: TextRange | None = None
    parts: tuple["ChunkDescriptor", ...] = ()


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """One chunk of a manifest: its number and where its enqueued rows are.

    `first_row` is the number of the chunk's first row in the partition's source as a whole, counted from 0.
    """

    chunk_no: int
    first_row: int
    descriptor: ChunkDescriptor

    @property
    def rows(self) -> int:
        return self.descriptor.rows

    def place_of(self, row_no: int) -> tuple[str, int]:
        """Where a row of the chunk comes from: the file, address or query, and the row's number in it, counted from 0."""
        offset = row_no - self.first_row
        for part in self.descriptor.parts:
            if offset < part.rows:
                return part.origin, part.origin_row + offset
            offset -= part.rows
        return self.descriptor.origin, self.descriptor.origin_row + offset


@dataclass(frozen=True)
class Manifest:
    """All chunks of one partition, in source order, without gaps or overlaps."""

    chunks: tuple[ChunkPlan, ...]

    @classmethod
    def of(cls, descriptors: Sequence[ChunkDescriptor]) -> Self:
        """Number the chunks in the order given."""
        first_rows = itertools.accumulate((descriptor.rows for descriptor in descriptors), initial=0)
        return cls(tuple(map(ChunkPlan, range(len(descriptors)), first_rows, descriptors)))

    @cached_property
    def enqueued_rows(self) -> int:
        return sum(chunk.rows for chunk in self.chunks)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the content and the boundaries of every chunk.

        The boundaries are included because resuming with another chunk size would skip or duplicate rows. Modification times
        are not: a source that is rewritten with the same bytes is the same source.
        """
        digest = hashlib.sha256()
        for chunk in self.chunks:
            d = chunk.descriptor
            digest.update(f"{chunk.chunk_no}|{d.file_digest}|{d.file_bytes}|{d.row_offset}|{d.rows}\n".encode())
        return digest.hexdigest()

    @property
    def parts(self) -> Iterator[ChunkDescriptor]:
        """Where the rows are, file by file."""
        return (part for chunk in self.chunks for part in chunk.descriptor.parts or (chunk.descriptor,))

    @property
    def content_is_of_rows(self) -> bool:
        """Whether the content digest is computed from rows as they were read rather than from files."""
        return bool(self.chunks and self.chunks[-1].descriptor.rows_digest)

    @cached_property
    def content_digest(self) -> str:
        """Digest over the content alone: the same for the same rows of the same files, whatever the chunk boundaries.

        The files of a spooled source depend on the boundaries, so the digest of its rows is used instead.
        """
        if self.content_is_of_rows:
            return self.chunks[-1].descriptor.rows_digest
        runs: list[tuple[str, int, int, int]] = []  # digest, bytes, first row, row after the last
        for d in self.parts:
            run = (d.file_digest, d.file_bytes, d.row_offset, d.row_offset + d.rows)
            if runs and runs[-1][:2] == run[:2] and runs[-1][3] == run[2]:
                run = (*run[:2], runs.pop()[2], run[3])
            runs.append(run)
        return hashlib.sha256("\n".join("|".join(map(str, run)) for run in runs).encode()).hexdigest()
