"""Where the records of a CSV text begin and end, and which of them are none, at the speed of columns.

A quote opens a field only at its beginning, and closes it only at its end; in the middle of an unquoted field it is a character
like any other. As long as all quotes keep to that, numpy tells at once which of them open and close, and so which line ends
stand within quotes. A record with a quote that does not keep to it is looked at by hand, and the rest again by numpy.

Of a quote that is never closed nobody knows whether the lines behind it belong to it. They are taken for records of their
own: what is damaged is one line.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rowledger.sources.csv_fields import Dialect, end_of_quoted

__all__ = ["Records", "split"]

LONE_CR = "has a carriage return outside of quotes that ends no line"
UNCLOSED = "has an opening quote without a closing one"
INNER_QUOTE = "has text behind a closing quote, or a quote inside a quoted field that is not doubled"

_LF, _CR = 10, 13
_LENIENT_BYTES, _LENIENT_QUOTES = 8192, 64
"""How far behind a quote that is out of place, and over how many more, a damaged record is followed over line ends."""
_IN_ORDER_BY_HAND = 4
"""Records looked at by hand behind a damaged one: where there is one, there are often more."""
_FIRST_WINDOW = 64
"""Quotes looked at after a record by hand; doubled as long as they are in order."""

_Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Records:
    """The complete records of a text: from `starts` to `ends`, line ends excluded, with the text `consumed` by them.

    `damaged` says, by its start, why a record is none. Blank lines are records here, of no bytes.
    """

    starts: _Positions
    ends: _Positions
    damaged: dict[int, str]
    consumed: int


def split(text: bytes, dialect: Dialect, *, final: bool, record_bytes_max: int) -> Records:
    """The records of a text that begins with one; the last may be incomplete unless the text is `final`.

    A quote that is not closed within `record_bytes_max` is not closed.
    """
    if dialect.escape is not None and dialect.escape in text:
        text = _without_escaped(text, dialect.escape)
    ends, nexts = _line_ends(text, final=final) if dialect.cr_ends_lines else _lf_line_ends(text, final=final)
    if dialect.quote is None or dialect.quote not in text:
        starts = np.concatenate([np.zeros(1, np.int64), nexts])
        if final and starts[-1] < len(text):
            records = Records(starts, np.append(ends, len(text)), {}, len(text))
        else:
            records = Records(starts[:-1], ends, {}, int(starts[-1]))
    else:
        records = _Quoted(text, dialect, ends, nexts, final=final, record_bytes_max=record_bytes_max).records()
    if not dialect.cr_ends_lines and b"\r" in text:
        _mark_lone_cr(text, dialect, records)
    return records


def _without_escaped(text: bytes, escape: int) -> bytes:
    """The text with a plain character in place of each escaped one."""
    masked = np.frombuffer(text, np.uint8).copy()
    at = np.flatnonzero(masked == escape)
    begins_run = np.diff(at, prepend=-2) != 1
    run = np.cumsum(begins_run) - 1
    number_in_run = np.arange(len(at)) - np.flatnonzero(begins_run)[run]
    behind = at[number_in_run % 2 == 0] + 1  # every other escape of a run is itself escaped
    masked[behind[behind < len(masked)]] = ord("x")
    return masked.tobytes()


def _line_ends(text: bytes, *, final: bool) -> tuple[_Positions, _Positions]:
    """Where lines end, and where the next ones begin: behind LF, CR LF or a lone CR."""
    content = np.frombuffer(text, np.uint8)
    if b"\r" not in text:
        ends = np.flatnonzero(content == _LF)
        return ends, ends + 1
    ends = np.flatnonzero((content == _LF) | (content == _CR))
    if not final and text.endswith(b"\r"):
        ends = ends[:-1]  # its \n may be about to come
    second = (content[ends] == _LF) & (ends > 0) & (content[ends - 1] == _CR)
    ends = ends[~second]
    followed = np.minimum(ends + 1, len(content) - 1)
    return ends, ends + 1 + ((content[ends] == _CR) & (content[followed] == _LF) & (followed > ends))


def _lf_line_ends(text: bytes, *, final: bool) -> tuple[_Positions, _Positions]:
    """The same behind LF or CR LF alone, and behind a CR that is the last byte of all."""
    content = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(content == _LF)
    nexts = ends + 1
    if b"\r" in text:
        ends = ends - ((ends > 0) & (content[ends - 1] == _CR))
        if final and text.endswith(b"\r"):
            ends, nexts = np.append(ends, len(text) - 1), np.append(nexts, len(text))
    return ends, nexts


def _mark_lone_cr(text: bytes, dialect: Dialect, records: Records) -> None:
    """Take the records for damaged that have a CR outside of quotes."""
    content = np.frombuffer(text, np.uint8)
    at = np.flatnonzero(content[: records.consumed] == _CR)
    numbers = np.searchsorted(records.starts, at, side="right") - 1
    for number in np.unique(numbers[at < records.ends[numbers]]).tolist():
        start, end = int(records.starts[number]), int(records.ends[number])
        if start not in records.damaged and _has_bare_cr(text[start:end], dialect):
            records.damaged[start] = LONE_CR


def _has_bare_cr(record: bytes, dialect: Dialect) -> bool:
    position = 0
    while position < len(record):
        if record[position] == dialect.quote:
            position = end_of_quoted(record, position, dialect)
            end = position
        else:
            stop = record.find(dialect.delimiter, position)
            end = len(record) if stop < 0 else stop
        if record.find(b"\r", position, end + 1) >= 0:
            return True
        position = end + 1
    return False


class _Quoted:
    """The records of a text with quotes in it."""

    def __init__(
        self,
        text: bytes,
        dialect: Dialect,
        line_ends: _Positions,
        next_lines: _Positions,
        *,
        final: bool,
        record_bytes_max: int,
    ) -> None:
        assert dialect.quote is not None  # noqa: S101, otherwise there is nothing to do here
        self._text = text
        self._content = np.frombuffer(text, np.uint8)
        self._dialect = dialect
        self._quote = dialect.quote
        self._stops = {dialect.delimiter, _LF, _CR}
        self._quotes = np.flatnonzero(self._content == self._quote)
        self._line_ends = line_ends
        self._next_lines = next_lines
        self._final = final
        self._record_bytes_max = record_bytes_max
        # What may stand before a quote that opens and behind one that closes. Two quotes in a row close and open again.
        self._fits = np.zeros(256, np.bool_)
        self._fits[[dialect.delimiter, _LF, _CR, self._quote]] = True

    def records(self) -> Records:
        starts: list[_Positions] = []
        ends: list[_Positions] = []
        damaged: dict[int, str] = {}
        start = 0
        window = len(self._quotes) + 1
        while True:
            in_order, trouble = self._in_order(start, window)
            bound = len(self._text) if trouble is None else trouble
            outside_ends, outside_nexts = self._outside(start, bound, in_order)
            starts.append(np.concatenate([np.array([start]), outside_nexts])[:-1])
            ends.append(outside_ends)
            start = int(outside_nexts[-1]) if len(outside_nexts) else start
            if trouble is None:
                break
            found = self._some_by_hand(start)
            if not found:
                break
            starts.append(np.array([begin for begin, _, _, _ in found]))
            ends.append(np.array([end for _, end, _, _ in found]))
            damaged.update((begin, reason) for begin, _, _, reason in found if reason is not None)
            start, window = found[-1][2], _FIRST_WINDOW
        if self._final and start < len(self._text):
            starts.append(np.array([start]))
            ends.append(np.array([len(self._text)]))
            start = len(self._text)
        return Records(np.concatenate(starts), np.concatenate(ends), damaged, start)

    def _in_order(self, start: int, window: int) -> tuple[_Positions, int | None]:
        """The quotes from `start` on that open and close in turn, and where a quote or its field begins that is out of order.

        Left out are quotes that are characters like any other.
        """
        first = int(np.searchsorted(self._quotes, start))
        while True:
            quotes = self._quotes[first : first + window]
            pairs, trouble = self._pairs(quotes, start)
            if trouble is not None:
                return pairs, trouble
            if first + window >= len(self._quotes):
                return (pairs[:-1], int(pairs[-1])) if len(pairs) % 2 else (pairs, None)
            window *= 2

    def _pairs(self, quotes: _Positions, start: int) -> tuple[_Positions, int | None]:
        """Those of the quotes that open and close in turn, up to the first that is out of order, and where that is.

        A quote that can only open, by what stands before and behind it, makes the text behind it quoted; one that can only
        close makes it unquoted; one that can do both turns it over. So what the text is at a quote is known from the last one
        of the first two kinds, and from the number of the third kind since.
        """
        if not len(quotes):
            return quotes, None
        last = len(self._text) - 1
        can_open = self._fits[self._content[quotes - 1]] | (quotes == start)
        can_close = np.where(quotes < last, self._fits[self._content[np.minimum(quotes + 1, last)]], self._final)
        settled = np.maximum.accumulate(np.where(can_open != can_close, np.arange(len(quotes)), -1))
        turned = np.cumsum(can_open & can_close)
        turned_since = turned - np.where(settled >= 0, turned[settled], 0)
        quoted = np.where(settled >= 0, can_open[settled], False) ^ (turned_since % 2 == 1)  # noqa: FBT003, numpy's own signature
        within = np.concatenate([[False], quoted[:-1]])
        literal = ~within & ~can_open
        wrong = within & ~can_close
        # A quote right behind one that is a character opens nothing.
        wrong[1:] |= literal[:-1] & ~within[1:] & can_open[1:] & (np.diff(quotes) == 1)
        if not wrong.any():
            return quotes[~literal], None
        at = int(np.argmax(wrong))
        pairs = quotes[:at][~literal[:at]]
        return (pairs[:-1], int(pairs[-1])) if len(pairs) % 2 else (pairs, int(quotes[at]))

    def _outside(self, start: int, bound: int, quotes: _Positions) -> tuple[_Positions, _Positions]:
        """The line ends in a range that stand within none of these pairs of quotes."""
        low, high = np.searchsorted(self._line_ends, [start, bound])
        ends, nexts = self._line_ends[low:high], self._next_lines[low:high]
        outside = np.searchsorted(quotes, ends) % 2 == 0
        return ends[outside], nexts[outside]

    def _some_by_hand(self, start: int) -> list[tuple[int, int, int, str | None]]:
        """Records from `start` on, up to some in a row that are in order: begin, end, begin of the next one, what is wrong."""
        found: list[tuple[int, int, int, str | None]] = []
        in_order = 0
        while (
            in_order < _IN_ORDER_BY_HAND and start < len(self._text) and (by_hand := self._by_hand(start)) is not None
        ):
            end, following, reason = by_hand
            found.append((start, end, following, reason))
            in_order = 0 if reason is not None else in_order + 1
            start = following
        return found

    def _by_hand(self, start: int) -> tuple[int, int, str | None] | None:
        """End of the record at `start`, start of the next one, and what is wrong with it; None if it is not complete."""
        text, position, reason = self._text, start, None
        while True:
            if position < len(text) and text[position] == self._quote:
                closed = self._closing(start, position)
                if closed is None:
                    return None
                position, fault = closed
                if position < 0:
                    return self._line_end(start, fault or UNCLOSED)
                reason = reason or fault
            elif (stop := self._dialect.stop.search(text, position)) is not None:
                position = stop.start()
            else:
                position = len(text)
            if position == len(text):
                return (position, position, reason) if self._final else None
            if text[position] != self._dialect.delimiter:
                return self._line_end(position, reason)
            position += 1

    def _closing(self, start: int, opening: int) -> tuple[int, str | None] | None:
        """Where the quoted field ends, and what is wrong in it; -1 for nowhere; None if that cannot be known yet."""
        text, reason, lenient_quotes = self._text, None, 0
        search, limit = opening + 1, len(text)
        while (found := text.find(self._quote, search, limit)) >= 0:
            behind = text[found + 1] if found + 1 < len(text) else None
            if behind is None and not self._final:
                break
            if behind is None or behind in self._stops:
                return found + 1, reason
            lenient_quotes += reason is not None
            if lenient_quotes > _LENIENT_QUOTES:
                return -1, reason
            if behind == self._quote:
                search = found + 2
                continue
            if text[found - 1] in self._stops:
                return -1, reason  # this one opens a field, so the one before did not
            if reason is None:
                reason = INNER_QUOTE
                limit = min(limit, found + _LENIENT_BYTES)
            search = found + 1
        # Not found. More text might have it, unless it was looked for as far as may be.
        if not self._final and limit == len(text) and len(text) - start <= self._record_bytes_max:
            return None
        return -1, reason

    def _line_end(self, position: int, reason: str | None) -> tuple[int, int, str | None] | None:
        at = int(np.searchsorted(self._line_ends, position))
        if at < len(self._line_ends):
            return int(self._line_ends[at]), int(self._next_lines[at]), reason
        return (len(self._text), len(self._text), reason) if self._final else None
