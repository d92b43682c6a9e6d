"""Cut scanned text into chunks: byte ranges of whole records, with the number of their rows and their digest.

Where a chunk ends depends only on the records, so the same file has the same chunks in every run. Workers never import this
module.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash

from rowledger.sources.source_file import SourceFile
from rowledger.sources.spool_files import spool_file
from rowledger.sources.text_records import Positions, Records, ScannedText
from rowledger.spec import ChunkDescriptor, SourceContext, TextRange

__all__ = ["TextChunks"]

_CHUNK_TEXT_BYTES_MAX = 6 * 2**20  # a worker needs a dozen times that while it parses, checks and encodes a chunk
_KIND_OF_DIGEST = "text:"
"""Begins the digest of rows by their text, which another source's digest of the same rows never equals."""


@dataclass
class _Chunk:
    """A chunk in the making; its positions count from the beginning of the file's text."""

    begin: int
    end: int
    facts: TextRange
    rows: int = 0
    digest: Any = field(default_factory=xxhash.xxh3_128)
    pieces: list[memoryview] = field(default_factory=list)
    starts: list[Positions] = field(default_factory=list)
    ends: list[Positions] = field(default_factory=list)
    damaged: dict[int, str] = field(default_factory=dict)

    def records(self) -> Records:
        """The chunk's records, with positions that count from its beginning."""
        starts, ends = (np.concatenate(found) - self.begin for found in (self.starts, self.ends))
        damaged = {start - self.begin: reason for start, reason in self.damaged.items()}
        return Records(starts, ends, damaged, self.end - self.begin)


class TextChunks:
    """The chunks of the files of one partition.

    `settings` say how the source reads the text of a row; they are part of the digest of the rows.
    """

    def __init__(self, scope: SourceContext, settings: str, *, chunk_bytes_max: int | None = None) -> None:
        self._scope = scope
        self._chunk_bytes_max = chunk_bytes_max or _CHUNK_TEXT_BYTES_MAX
        self._chunks = 0
        self._rows_digest = xxhash.xxh3_128(settings.encode())
        self._columns: tuple[str, ...] | None = None  # the names that were last digested

    def cut(self, file: SourceFile, scanned: Iterator[ScannedText], *, in_place: bool) -> Iterator[ChunkDescriptor]:
        """Yield a descriptor for each chunk of the file, as soon as it is known where the chunk ends.

        A chunk ends at `chunk_rows_max` rows, and before the record with which it would exceed the limit of bytes, unless that
        is its first one or follows a first one that exceeds it alone. A worker
        reads the chunk in place, or in the spool. `scanned` is closed with this generator. Raises SourceError and
        NotEnoughSpace.
        """
        origin_row = 0
        chunk: _Chunk | None = None
        try:
            for part in scanned:
                starts, nexts = part.records.starts + part.offset, part.records.nexts + part.offset
                rows_until = np.arange(len(starts) + 1) if part.is_row is None else _running_count(part.is_row)
                first = 0
                while first < len(starts):
                    if chunk is None:
                        chunk = _Chunk(int(starts[first]), int(starts[first]), part.facts)
                    stop = self._stop(chunk, first, nexts, rows_until, int(self._chunk_bytes_max * part.chunk_share))
                    if stop > first:
                        self._add(chunk, part, first, stop, in_place=in_place)
                        chunk.rows += int(rows_until[stop] - rows_until[first])
                        first = stop
                    if stop == len(starts) and chunk.rows < self._scope.chunk_rows_max:
                        break  # the next part may have more of it
                    if chunk.rows:
                        yield self._descriptor(chunk, file, origin_row)
                        origin_row += chunk.rows
                    chunk = None
            if chunk is not None and chunk.rows:
                yield self._descriptor(chunk, file, origin_row)
        finally:
            if isinstance(scanned, Generator):
                scanned.close()

    def _stop(self, chunk: _Chunk, first: int, nexts: Positions, rows_until: Positions, bytes_max: int) -> int:
        """The number of the record, from `first` on, with which the chunk does not go on."""
        room = self._scope.chunk_rows_max - chunk.rows
        by_rows = int(np.searchsorted(rows_until, rows_until[first] + room))
        by_bytes = int(np.searchsorted(nexts, chunk.begin + bytes_max, side="right"))
        records, first_end = sum(map(len, chunk.starts)), int(chunk.end if chunk.starts else nexts[first])
        if records <= 1 and first_end - chunk.begin > bytes_max:
            # A record that is larger than a chunk becomes one, together with the next one: polars keeps the values of a frame
            # that has a single row in another way, and copies each several times.
            second = first + 1 - records
            by_bytes = second + int(second < len(nexts) and nexts[second] - first_end <= bytes_max)
        return min(by_rows, by_bytes, len(nexts))

    def _add(self, chunk: _Chunk, part: ScannedText, first: int, stop: int, *, in_place: bool) -> None:
        """Let the chunk go on with these records of the part."""
        records, nexts = part.records, part.records.nexts
        piece = memoryview(part.text)[records.starts[first] : nexts[stop - 1]]
        chunk.digest.update(piece)
        if not in_place:
            chunk.pieces.append(piece)
        chunk.starts.append(records.starts[first:stop] + part.offset)
        chunk.ends.append(records.ends[first:stop] + part.offset)
        chunk.end = int(nexts[stop - 1]) + part.offset
        if records.damaged:
            low, high = int(records.starts[first]), int(nexts[stop - 1])
            chunk.damaged |= {at + part.offset: why for at, why in records.damaged.items() if low <= at < high}
        self._digest_rows(part, first, stop, nexts)

    def _digest_rows(self, part: ScannedText, first: int, stop: int, nexts: Positions) -> None:
        """Digest the rows' text, in which neither blank lines between them count nor whether the last one has a line end."""
        numbers = np.arange(first, stop)
        if part.is_row is not None:
            numbers = numbers[part.is_row[first:stop]]
            if not len(numbers):
                return
        if part.facts.columns != self._columns:
            self._columns = part.facts.columns
            self._rows_digest.update(repr(self._columns).encode())
        view, starts = memoryview(part.text), part.records.starts
        gaps = np.flatnonzero(np.diff(numbers) != 1) + 1
        for run in np.split(numbers, gaps):
            self._rows_digest.update(view[starts[run[0]] : nexts[run[-1]]])
        if nexts[numbers[-1]] == part.records.ends[numbers[-1]]:
            self._rows_digest.update(b"\n")

    def _descriptor(self, chunk: _Chunk, file: SourceFile, origin_row: int) -> ChunkDescriptor:
        """The chunk's descriptor; what it needs of the spool is durable then."""
        number, self._chunks = self._chunks, self._chunks + 1
        path, begin, length = str(file.path), chunk.begin, chunk.end - chunk.begin
        digest = chunk.digest.hexdigest()
        if chunk.pieces:
            with spool_file(self._scope, f"{number:08}.txt", length) as (spooled, stream):
                stream.writelines(chunk.pieces)
            path, begin = str(spooled), 0
        records = ""
        if chunk.damaged:
            content = chunk.records().to_bytes()
            with spool_file(self._scope, f"{number:08}.records", len(content)) as (spooled, stream):
                stream.write(content)
            # Rows depend on them, so they are part of the chunk's identity.
            digest, records = f"{digest} {xxhash.xxh3_128_hexdigest(content)}", str(spooled)
        return ChunkDescriptor(
            path=path,
            file_bytes=length,
            file_digest=digest,
            row_offset=0,
            rows=chunk.rows,
            rows_digest=_KIND_OF_DIGEST + self._rows_digest.hexdigest(),
            origin=file.origin,
            origin_row=origin_row,
            text=chunk.facts.model_copy(update={"offset": begin, "length": length, "records": records}),
        )


def _running_count(is_row: Any) -> Positions:  # noqa: ANN401, numpy's array of Booleans
    return np.concatenate([[0], np.cumsum(is_row)])
