"""Find the end of a record of many megabytes without the positions of all its quotes and line ends.

Those would take many times the memory of the record.
"""

import numpy as np

from rowledger.sources.csv_fields import Dialect
from rowledger.sources.text_records import Positions, Records

__all__ = ["long_record"]

_FIELDS_WITH_DOUBLED_QUOTES = 16  # each has the rest of the text copied
_NOWHERE: Positions = np.empty(0, np.int64)


def long_record(text: bytes, dialect: Dialect, *, final: bool, record_bytes_max: int) -> Records | None:
    """The first record of a text, alone, or no record if it is not complete; None if it is short, or not in order."""
    if (end := _end_in_order(text, dialect)) is None:
        return None
    following = end + 1 + (text[end : end + 2] == b"\r\n")
    if end < 0 or end == len(text) or (following == len(text) and text.endswith(b"\r")):  # more text decides
        is_incomplete = not final and len(text) <= record_bytes_max
        return Records(_NOWHERE, _NOWHERE, {}, 0) if is_incomplete else None
    return Records(np.zeros(1, np.int64), np.array([end]), {}, following) if following > len(text) // 4 else None


def _end_in_order(text: bytes, dialect: Dialect) -> int | None:
    """Where the line end of the first record is, or the end of the text; None unless that record is in order.

    The fields of such a record have quotes around them, doubled ones within, or none at all. Negative if a quote is not closed.
    """
    position = doubled = 0
    while True:
        if position < len(text) and text[position] == dialect.quote:
            position = text.find(text[position], position + 1)
            if position >= 0 and text[position + 1 : position + 2] == text[position : position + 1]:
                position, doubled = _undoubled(text, position), doubled + 1
            if position < 0 or position + 1 == len(text):
                return -1
            position += 1
        else:
            stop = dialect.stop.search(text, position)
            end = len(text) if stop is None else stop.start()
            if dialect.quote is not None and text.find(dialect.quote, position, end) >= 0:
                return None
            position = end
        if position == len(text) or text[position] in b"\r\n":
            is_lone_cr = text[position : position + 1] == b"\r" and text[position + 1 : position + 2] != b"\n"
            return None if is_lone_cr and not dialect.cr_ends_lines else position
        if text[position] != dialect.delimiter or doubled > _FIELDS_WITH_DOUBLED_QUOTES:
            return None
        position += 1


def _undoubled(text: bytes, position: int) -> int:
    """The first quote from `position` on, within quotes, that is not doubled; -1 if there is none."""
    quote = text[position : position + 1]
    found = text[position:].replace(quote * 2, b"\0\0").find(quote)
    return position + found if found >= 0 else -1
