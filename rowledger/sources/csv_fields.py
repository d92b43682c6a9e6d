"""The dialect of a CSV file, and the fields of one record."""

import re
from dataclasses import dataclass
from functools import cached_property

from rowledger.sources.csv_escapes import EscapeReading, Escapes

__all__ = ["Dialect", "end_of_quoted", "fields_of"]


@dataclass(frozen=True)
class Dialect:
    """How fields are separated, quoted and escaped: one ASCII byte each, or None."""

    delimiter: int
    quote: int | None
    escape: int | None
    cr_ends_lines: bool = True
    """Whether a carriage return alone ends a line; if not, it is an error outside quotes."""
    reading: EscapeReading = "literal"
    codec: str = "utf-8"
    quoted_nulls: bool = False
    """Whether a quoted field can be null."""

    @cached_property
    def stop(self) -> re.Pattern[bytes]:
        """Where an unquoted field ends."""
        return re.compile(b"[" + re.escape(bytes([self.delimiter])) + rb"\r\n]")

    @cached_property
    def escaped(self) -> re.Pattern[bytes]:
        """An escape and the byte after it."""
        return re.compile(re.escape(bytes([self.escape or 0])) + b"(.)", re.DOTALL)

    @cached_property
    def unquoted(self) -> re.Pattern[bytes]:
        """What is replaced inside quotes: a doubled quote, an escape sequence."""
        quote = re.escape(bytes([self.quote or 0]))
        return re.compile(
            quote + b"(" + quote + b")" + (b"|" + self.escapes.pattern if self.escapes else b""), re.DOTALL
        )

    @cached_property
    def escapes(self) -> Escapes | None:
        """How escapes are read, if there are any."""
        return None if self.escape is None else Escapes(self.escape, self.reading, self.codec)

    @cached_property
    def sequence(self) -> re.Pattern[bytes]:
        """An escape and the characters that belong to it."""
        assert self.escapes is not None  # noqa: S101, used only where the dialect has an escape
        return re.compile(self.escapes.pattern, re.DOTALL)

    def unescaped(self, match: re.Match[bytes]) -> bytes:
        """The replacement for a match of `unquoted` or `sequence`; raises BadEscape."""
        sequence = match[match.lastindex or 0]
        if self.escapes is None or sequence[0] != self.escape:
            return sequence
        return self.escapes.read(sequence)


def fields_of(record: bytes, dialect: Dialect, nulls: frozenset[bytes]) -> list[bytes | None]:
    """The fields of a record that is not damaged; one of `nulls` is None, unless it is quoted.

    With `quoted_nulls` a quoted one is None, too. Raises BadEscape.
    """
    masked = record
    if dialect.escape is not None:
        masked = dialect.escaped.sub(lambda _: b"xx", record)
    fields: list[bytes | None] = []
    position = 0
    while True:
        begin = position
        quoted = position < len(masked) and masked[position] == dialect.quote
        if quoted:
            position = end_of_quoted(masked, position, dialect)
            field = record[begin + 1 : position - 1]
            is_null = dialect.quoted_nulls and field in nulls
            fields.append(None if is_null else dialect.unquoted.sub(dialect.unescaped, field))
        else:
            stop = masked.find(dialect.delimiter, position)
            position = len(record) if stop < 0 else stop
            field = record[begin:position]
            fields.append(None if field in nulls else _unescaped(field, dialect))
        if position >= len(record):
            return fields
        position += 1


def end_of_quoted(masked: bytes, opening: int, dialect: Dialect) -> int:
    """The position after the quote that closes the one at `opening`, in a record that is not damaged."""
    assert dialect.quote is not None  # noqa: S101, there is a quote at `opening`
    position = opening + 1
    while True:
        found = masked.find(dialect.quote, position)
        if masked[found + 1 : found + 2] != bytes([dialect.quote]):
            return found + 1
        position = found + 2


def _unescaped(field: bytes, dialect: Dialect) -> bytes:
    return field if dialect.escape is None else dialect.sequence.sub(dialect.unescaped, field)
