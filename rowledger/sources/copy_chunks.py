"""Cut the text of a COPY into chunks of the spool, whose rows are counted but not parsed. Workers never import this module."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from rowledger.errors import SourceError
from rowledger.sources.source_file import SourceFile
from rowledger.sources.text_chunks import TextChunks
from rowledger.sources.text_records import Records, ScannedText
from rowledger.spec import ChunkDescriptor, SourceContext, TextRange

__all__ = ["copy_chunks"]

_LINE_END = ord("\n")


def copy_chunks(
    blocks: Iterator[bytes], types: Mapping[str, str], scope: SourceContext, *, origin: str
) -> Iterator[ChunkDescriptor]:
    """Yield a descriptor for each chunk of the text as soon as its file is complete; raises SourceError and NotEnoughSpace.

    `types` are the server's types of the columns by name. The digest of the rows is one over their text and these types.
    """
    documents = None if scope.documents is None else tuple(sorted(scope.documents))
    facts = TextRange(offset=0, length=0, columns=tuple(types), types=tuple(types.values()), documents=documents)
    chunks = TextChunks(scope, f"COPY {facts.types}")
    yield from chunks.cut(SourceFile(Path(), origin, ""), _scanned(blocks, facts, origin), in_place=False)


def _scanned(blocks: Iterator[bytes], facts: TextRange, origin: str) -> Iterator[ScannedText]:
    """The records of each block: only the end of a row is a line end, those in values are escaped."""
    offset, held = 0, b""
    for block in blocks:
        text = held + block if held else block
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == _LINE_END)
        consumed = int(ends[-1]) + 1 if len(ends) else 0
        if consumed:
            starts = np.concatenate([[0], ends[:-1] + 1])
            yield ScannedText(text, offset, Records(starts, ends, {}, consumed), None, facts)
        offset, held = offset + consumed, text[consumed:]
    if held:
        raise SourceError(f"{origin}: the server's last row is incomplete; rerun")
