"""The fields of one CSV record, and how they are written."""

import re
from dataclasses import dataclass
from functools import cached_property

from rowledger.sources.csv_escapes import EscapeReading, Escapes

__all__ = ["Dialect", "end_of_quoted", "fields_of"]


@dataclass(frozen=True)
class Dialect:
    """How fields are parted, quoted and escaped: one ASCII byte each, or none."""

    delimiter: int
    quote: int | None
    escape: int | None
    cr_ends_lines: bool = True
    """Whether a carriage return alone ends a line; otherwise nobody knows what it is outside of quotes."""
    reading: EscapeReading = "literal"
    codec: str = "utf-8"

    @cached_property
    def stop(self) -> re.Pattern[bytes]:
        """Where an unquoted field ends."""
        return re.compile(b"[" + re.escape(bytes([self.delimiter])) + rb"\r\n]")

    @cached_property
    def escaped(self) -> re.Pattern[bytes]:
        """An escape and the byte that it takes the meaning from."""
        return re.compile(re.escape(bytes([self.escape or 0])) + b"(.)", re.DOTALL)

    @cached_property
    def unquoted(self) -> re.Pattern[bytes]:
        """What stands for something else inside of quotes: a doubled quote, an escape."""
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
        """An escape and all that belongs to it."""
        assert self.escapes is not None  # noqa: S101, asked for only where there are any
        return re.compile(self.escapes.pattern, re.DOTALL)

    def unescaped(self, match: re.Match[bytes]) -> bytes:
        """What stands for the match of `unquoted` or of `sequence`; raises BadEscape."""
        sequence = match[match.lastindex or 0]
        if self.escapes is None or sequence[0] != self.escape:
            return sequence
        return self.escapes.read(sequence)


def fields_of(record: bytes, dialect: Dialect, nulls: frozenset[bytes]) -> list[bytes | None]:
    """The fields of a record that is not damaged; an unquoted one that is among the `nulls` is null. Raises BadEscape."""
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
            fields.append(dialect.unquoted.sub(dialect.unescaped, record[begin + 1 : position - 1]))
        else:
            stop = masked.find(dialect.delimiter, position)
            position = len(record) if stop < 0 else stop
            field = record[begin:position]
            fields.append(None if field in nulls else _unescaped(field, dialect))
        if position >= len(record):
            return fields
        position += 1


def end_of_quoted(masked: bytes, opening: int, dialect: Dialect) -> int:
    """Behind the quote that closes the one at `opening`, in a record that is in order."""
    assert dialect.quote is not None  # noqa: S101, there is one at `opening`
    position = opening + 1
    while True:
        found = masked.find(dialect.quote, position)
        if masked[found + 1 : found + 2] != bytes([dialect.quote]):
            return found + 1
        position = found + 2


def _unescaped(field: bytes, dialect: Dialect) -> bytes:
    return field if dialect.escape is None else dialect.sequence.sub(dialect.unescaped, field)
