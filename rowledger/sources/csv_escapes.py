r"""The meaning of an escape and the characters after it in a CSV field: as PostgreSQL or MySQL reads them, or literally.

PostgreSQL's COPY writes a tab as `\t` and a line end as `\n`; MySQL writes the escape and the character itself, and `\0` for a
NUL. Both read `\b`, `\n`, `\r` and `\t`. Only PostgreSQL reads `\f`, `\v` and bytes in octal and hexadecimal digits; only MySQL
reads `\Z`, and `\0` before a digit as a NUL.
"""

import codecs
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

__all__ = ["BadEscape", "EscapeReading", "Escapes"]

EscapeReading = Literal["literal", "either", "postgresql", "mysql"]

_EITHER = {b"b": b"\b", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_POSTGRESQL = {b"f": b"\f", b"v": b"\v"}
_MYSQL = {b"0": b"\0", b"Z": b"\x1a"}
_READ: dict[EscapeReading, dict[bytes, bytes]] = {
    "literal": {},
    "either": {**_EITHER, **_POSTGRESQL, b"Z": b"\x1a"},
    "postgresql": {**_EITHER, **_POSTGRESQL},
    "mysql": {**_EITHER, **_MYSQL},
}


class BadEscape(Exception):
    """The escapes of a record cannot be read; the message says why, and does not quote the record."""


@dataclass(frozen=True)
class Escapes:
    """How one file's escapes are read. `codec` is the file's encoding, which bytes written as digits have too."""

    escape: int
    reading: EscapeReading
    codec: str

    @property
    def has_end_mark(self) -> bool:
        """Whether a line with only an escape and a point ends the data."""
        return self.reading in {"either", "postgresql"}

    @cached_property
    def pattern(self) -> bytes:
        """The pattern of an escape and the characters that belong to it, in one group."""
        escape = re.escape(bytes([self.escape]))
        if self.reading in {"literal", "mysql"}:
            return b"(" + escape + b".)"
        digits = escape + rb"(?:[0-7]{1,3}|x[0-9A-Fa-f]{1,2})"
        return b"((?:" + digits + b")+|" + escape + b".)"

    def read(self, sequence: bytes) -> bytes:
        """The meaning, as UTF-8, of a sequence that the pattern matches; raises BadEscape."""
        behind = sequence[1:2]
        if self.reading in {"literal", "mysql"} or (len(sequence) == len(b"\\t") and not behind.isdigit()):
            return _READ[self.reading].get(behind, sequence[1:])
        if not self._digits.match(sequence):
            return sequence[1:]
        if self.reading == "either" and self._nul_and_digit.search(sequence):
            raise BadEscape(r"has \0 before a digit, which PostgreSQL and MySQL read differently; declare `escapes`")
        found = self._digits.findall(sequence)
        content = bytes(int(octal, 8) % 256 if octal else int(hexadecimal, 16) for octal, hexadecimal in found)
        if content.isascii() or self.codec == "utf-8":
            return content  # not decoded: in UTF-8 the bytes next to it may belong to the same character
        try:
            return codecs.decode(content, self.codec).encode()
        except (UnicodeError, LookupError):
            raise BadEscape(f"has bytes in octal or hexadecimal digits that are not {self.codec}") from None

    @cached_property
    def _digits(self) -> re.Pattern[bytes]:
        return re.compile(re.escape(bytes([self.escape])) + rb"(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2}))")

    @cached_property
    def _nul_and_digit(self) -> re.Pattern[bytes]:
        return re.compile(re.escape(bytes([self.escape])) + rb"0[0-7]")
