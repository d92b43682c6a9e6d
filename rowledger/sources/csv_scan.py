"""Find the header and the records of a CSV file, without parsing the records. Workers never import this module."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from rowledger.contract import bare_name
from rowledger.errors import SourceError
from rowledger.sources.csv_escapes import BadEscape
from rowledger.sources.csv_fields import Dialect, fields_of
from rowledger.sources.csv_records import Splitter
from rowledger.sources.source_file import SourceFile
from rowledger.sources.text_reading import Text
from rowledger.sources.text_records import Records, ScannedText
from rowledger.spec import RESERVED_PREFIX, SourceContext, TextRange

if TYPE_CHECKING:
    from rowledger.sources.csv import CsvFiles

__all__ = ["scan_csv"]

_FIRST_LINE_BYTES_MAX = 2**20
_END_MARK = re.compile(rb"(?:\A|(?<=[\r\n]))\\\.(?:\r\n|\r|\n)?\Z")
_END_MARK_BYTES = 5  # the mark with the line ends around it
_LINE_END = re.compile(rb"\r\n?|\n")
_OTHER_DELIMITERS = {";": "';'", "\t": "'\\t'", "|": "'|'", ",": "','"}


def scan_csv(source: "CsvFiles", file: SourceFile, text: Text, scope: SourceContext) -> Iterator[ScannedText]:
    """All records of the file behind its header, in parts of some MiB; raises SourceError."""
    blocks = text.blocks
    if source.has_end_mark:
        blocks = _without_end_mark(blocks)
    content, line_end = _with_a_line_end(blocks)
    facts = TextRange(offset=0, length=0, codec=text.codec, cr_ends_lines=line_end == b"\r")
    dialect = source.dialect_of(facts)
    header = _Header(source, file.origin, dialect, expected=scope.columns)
    columns = None if source.header else header.checked(source.columns or scope.columns) or None
    splitter = Splitter(dialect, record_bytes_max=source.record_bytes_max)
    lines_to_skip, offset = source.skip_lines, text.offset or 0
    pieces, size, wanted = [content], len(content), 0
    for block in chain([b""], blocks, [None]):
        final = block is None
        pieces.append(block or b"")
        size += len(pieces[-1])
        if size < wanted and not final:
            continue
        content = b"".join(pieces)
        lines_to_skip, skipped = _lines_end(content, lines_to_skip, final=final)
        content, offset = content[skipped:], offset + skipped
        if lines_to_skip:
            source.require_short(len(content), file)
            pieces, size = [content], len(content)
            continue
        records = splitter.split(content, final=final)
        sizes = records.ends - records.starts
        source.require_short(int(sizes.max(initial=len(content) - records.consumed)), file)
        consumed, is_row = records.consumed, sizes > 0
        if columns is None and is_row.any():
            number = int(is_row.argmax())
            columns = header.columns(content, records, number)
            records, is_row = records.since(number + 1), is_row[number + 1 :]
        if columns is not None and len(records.starts):
            facts = facts.model_copy(update={"columns": columns})
            all_are_rows = len(columns) == 1 or bool(is_row.all())
            yield ScannedText(content, offset, records, None if all_are_rows else is_row, facts)
        content, offset = content[consumed:], offset + consumed
        pieces, size = [content], len(content)
        # A record that is longer than the blocks is looked for again when there is twice as much of it.
        wanted = min(2 * size, source.record_bytes_max) if not consumed else 0
    if columns is None:
        raise SourceError(f"{file.origin}: has no header; write it again, or declare header=False")


class _Header:
    """Reads the names of a file's columns."""

    def __init__(self, source: "CsvFiles", origin: str, dialect: Dialect, *, expected: tuple[str, ...]) -> None:
        self._source = source
        self._origin = origin
        self._dialect = dialect
        self._expected = {bare_name(name) for name in expected} - {""}

    def columns(self, text: bytes, records: Records, number: int) -> tuple[str, ...]:
        """The names of the columns, by the record of this number; raises SourceError."""
        start, end = int(records.starts[number]), int(records.ends[number])
        record = text[start:end]
        if (reason := records.damaged.get(start)) is not None:
            self._require_delimiter(record, [])
            raise SourceError(f"{self._origin}: the header {reason}; fix it, or skip it and declare the columns")
        try:
            names = [(name or b"").decode() for name in fields_of(record, self._dialect, frozenset())]
        except (UnicodeDecodeError, BadEscape):
            raise SourceError(
                f"{self._origin}: the header does not decode as {self._source.encoding}; declare the encoding"
            ) from None
        self._require_delimiter(record, names)
        declared = self._source.columns
        if declared and len(declared) != len(names):
            raise SourceError(
                f"{self._origin}: the header has {len(names)} names, {len(declared)} columns are declared"
            )
        return self.checked(declared or tuple(names))

    def _require_delimiter(self, record: bytes, names: list[str]) -> None:
        """Raise SourceError if the header has expected names only when it is split at another delimiter."""
        if any(bare_name(name) in self._expected for name in names):
            return
        header = record.decode(errors="replace")
        for delimiter, shown in _OTHER_DELIMITERS.items():
            if delimiter == self._source.delimiter:
                continue  # the header is damaged in another way
            if delimiter in header and any(bare_name(name) in self._expected for name in header.split(delimiter)):
                raise SourceError(
                    f"{self._origin}: the header has no expected column with the delimiter {self._source.delimiter!r}; is the "
                    f"delimiter {shown}? Declare CsvFiles(delimiter={shown})"
                )

    def checked(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names; raises SourceError for names that no columns can have, and for too many columns."""
        limit = self._source.columns_max
        if len(names) > limit:
            raise SourceError(
                f"{self._origin}: {len(names):,} columns, {limit:,} are allowed; fix the file's delimiters, or raise the "
                "source's columns_max"
            )
        numbers: dict[str, int] = {}
        for number, name in enumerate(names, start=1):
            if (first := numbers.setdefault(name, number)) < number:
                raise SourceError(
                    f"{self._origin}: columns {first} and {number} are both named {name!r}; declare the columns' names in the "
                    "source"
                )
            if name.startswith(RESERVED_PREFIX) or "\0" in name:
                raise SourceError(
                    f"{self._origin}: no column can be named {name!r}; declare the columns' names in the source"
                )
        return names


def _without_end_mark(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks without a last line that is PostgreSQL's mark for the end of the data."""
    held = b""
    for block in blocks:
        text = held + block
        yield text[:-_END_MARK_BYTES]
        held = text[-_END_MARK_BYTES:]
    yield _END_MARK.sub(b"", held)


def _with_a_line_end(blocks: Iterator[bytes]) -> tuple[bytes, bytes]:
    """The first blocks, and the first line end in them; empty where the text, or its first MiB, has none."""
    text = b""
    for block in blocks:
        text += block
        end = _LINE_END.search(text)
        if end is not None and (end[0] != b"\r" or end.end() < len(text)):
            return text, end[0]
        if len(text) > _FIRST_LINE_BYTES_MAX:
            break
    return text, text[-1:] if text.endswith(b"\r") else b""


def _lines_end(text: bytes, lines: int, *, final: bool) -> tuple[int, int]:
    """How many lines are still to be skipped after this text, and where the skipped lines end in it."""
    position = 0
    while lines:
        end = _LINE_END.search(text, position)
        if not final and (end is None or (end[0] == b"\r" and end.end() == len(text))):
            return lines, position
        if end is None:
            return 0, len(text)
        position, lines = end.end(), lines - 1
    return 0, position
