"""Find where the records of a CSV text begin and end, and which of them are damaged, with vectorized operations.

A quote opens a field only at the field's beginning, and closes it only at the field's end; inside an unquoted field it is an
ordinary character. While all quotes follow this rule, numpy determines which of them open and close, and so which line ends are
inside quotes. A record with a quote that breaks the rule is parsed byte by byte; after it, numpy continues.

For a quote that is never closed, the text does not show whether the lines after it belong to its field. They are taken as
separate records, so that only one line is damaged.
"""

import numpy as np
import numpy.typing as npt

from rowledger.sources.csv_fields import Dialect, end_of_quoted
from rowledger.sources.csv_long_records import long_record
from rowledger.sources.text_records import Positions, Records, positions_of

__all__ = ["Splitter", "split"]

LONE_CR = "has a carriage return outside of quotes that ends no line"
UNCLOSED = "has an opening quote without a closing one"
INNER_QUOTE = "has text behind a closing quote, or a quote inside a quoted field that is not doubled"

_LF, _CR = 10, 13
_LENIENT_BYTES, _LENIENT_QUOTES = 8192, 64
"""After a misplaced quote, a damaged record is followed across line ends for at most this many bytes and quotes."""
LONG_TEXT_BYTES = 4 * 2**20
"""Of a longer text, the first record is looked for by itself: it is longer than a block."""
_IN_ORDER_BY_HAND = 4
"""After a damaged record, parsing byte by byte ends at this many good ones in a row: damaged records often come in groups."""
_FIRST_WINDOW = 64
"""Quotes that numpy examines first after such records; doubled while they are in order."""


class Splitter:
    """Finds the records of a text that is given part by part. Where a part ends makes no difference to the records.

    A quote that is not closed within `record_bytes_max` bytes counts as unclosed.
    """

    def __init__(self, dialect: Dialect, *, record_bytes_max: int) -> None:
        self._dialect = dialect
        self._record_bytes_max = record_bytes_max
        self._in_order = _IN_ORDER_BY_HAND

    def split(self, text: bytes, *, final: bool) -> Records:
        """The complete records of a text that begins with a record; the next text begins where they end.

        Unless the text is `final`, its last record may be incomplete.
        """
        dialect = self._dialect
        if dialect.escape is not None and dialect.escape in text:
            text = _without_escaped(text, dialect.escape)
        if len(text) > LONG_TEXT_BYTES and self._in_order >= _IN_ORDER_BY_HAND:
            found = long_record(text, dialect, final=final, record_bytes_max=self._record_bytes_max)
            if found is not None:
                rest = text[found.consumed :] if len(found.starts) else b""
                return found.followed_by(self.split(rest, final=final)) if rest else found
        ends, nexts = _line_ends(text, final=final) if dialect.cr_ends_lines else _lf_line_ends(text, final=final)
        if dialect.quote is None or (dialect.quote not in text and self._in_order >= _IN_ORDER_BY_HAND):
            starts = np.concatenate([np.zeros(1, np.int64), nexts])
            if final and starts[-1] < len(text):
                records = Records(starts, np.append(ends, len(text)), {}, len(text))
            else:
                records = Records(starts[:-1], ends, {}, int(starts[-1]))
        else:
            quoted = _Quoted(text, dialect, ends, nexts, final=final, record_bytes_max=self._record_bytes_max)
            records, self._in_order = quoted.records(self._in_order)
        if not dialect.cr_ends_lines and b"\r" in text:
            _mark_lone_cr(text, dialect, records)
        return records


def split(text: bytes, dialect: Dialect, *, record_bytes_max: int) -> Records:
    """The records of a whole text."""
    return Splitter(dialect, record_bytes_max=record_bytes_max).split(text, final=True)


def _without_escaped(text: bytes, escape: int) -> bytes:
    """The text with each escaped character replaced by `x`."""
    masked = np.frombuffer(text, np.uint8).copy()
    at = np.flatnonzero(masked == escape)
    begins_run = np.diff(at, prepend=-2) != 1
    run = np.cumsum(begins_run) - 1
    number_in_run = np.arange(len(at)) - np.flatnonzero(begins_run)[run]
    behind = at[number_in_run % 2 == 0] + 1  # every other escape of a run is itself escaped
    masked[behind[behind < len(masked)]] = ord("x")
    return masked.tobytes()


def _line_ends(text: bytes, *, final: bool) -> tuple[Positions, Positions]:
    """The positions where lines end, and where the next ones begin: after LF, CR LF or a lone CR."""
    content = np.frombuffer(text, np.uint8)
    if b"\r" not in text:
        ends = positions_of(_LF, content)
        return ends, ends + 1
    ends = np.flatnonzero((content == _LF) | (content == _CR))
    if not final and text.endswith(b"\r"):
        ends = ends[:-1]  # the next block may begin with its \n
    second = (content[ends] == _LF) & (ends > 0) & (content[ends - 1] == _CR)
    ends = ends[~second]
    followed = np.minimum(ends + 1, len(content) - 1)
    return ends, ends + 1 + ((content[ends] == _CR) & (content[followed] == _LF) & (followed > ends))


def _lf_line_ends(text: bytes, *, final: bool) -> tuple[Positions, Positions]:
    """The same where only LF and CR LF end lines, and a CR that is the last byte of the file."""
    content = np.frombuffer(text, np.uint8)
    ends = positions_of(_LF, content)
    nexts = ends + 1
    if b"\r" in text:
        ends = ends - ((ends > 0) & (content[ends - 1] == _CR))
        if final and text.endswith(b"\r"):
            ends, nexts = np.append(ends, len(text) - 1), np.append(nexts, len(text))
    return ends, nexts


def _mark_lone_cr(text: bytes, dialect: Dialect, records: Records) -> None:
    """Mark records that have a CR outside quotes as damaged."""
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
    """Finds the records of a text that has quotes."""

    def __init__(
        self,
        text: bytes,
        dialect: Dialect,
        line_ends: Positions,
        next_lines: Positions,
        *,
        final: bool,
        record_bytes_max: int,
    ) -> None:
        assert dialect.quote is not None  # noqa: S101, only such a text has quotes
        self._text = text
        self._content = np.frombuffer(text, np.uint8)
        self._dialect = dialect
        self._quote = dialect.quote
        self._stops = {dialect.delimiter, _LF, _CR}
        self._quotes = positions_of(self._quote, self._content)
        if not final and text.endswith(bytes([self._quote])):
            self._quotes = self._quotes[:-1]  # what it does depends on the byte behind it
        self._line_ends = line_ends
        self._next_lines = next_lines
        self._final = final
        self._record_bytes_max = record_bytes_max
        # The bytes that may precede an opening quote and follow a closing one. Two quotes in a row close and open again.
        self._fits = np.zeros(256, np.bool_)
        self._fits[[dialect.delimiter, _LF, _CR, self._quote]] = True

    def records(self, in_order: int) -> tuple[Records, int]:
        """The records, and how many good ones in a row the byte by byte parsing has found last.

        It goes on until it has found several: `in_order` is the number before this text.
        """
        starts: list[Positions] = []
        ends: list[Positions] = []
        damaged: dict[int, str] = {}
        start = 0
        window = len(self._quotes) + 1
        while True:
            if in_order >= _IN_ORDER_BY_HAND:
                pairs, bound, is_misplaced = self._in_order(start, window)
                outside_ends, outside_nexts = self._outside(start, bound, pairs)
                starts.append(np.concatenate([np.array([start]), outside_nexts])[:-1])
                ends.append(outside_ends)
                start = int(outside_nexts[-1]) if len(outside_nexts) else start
                is_too_long = bound < len(self._text) and len(self._text) - start > self._record_bytes_max
                if not (is_misplaced or is_too_long):
                    break
                in_order = 0
            found, in_order = self._some_by_hand(start, in_order)
            starts.append(np.array([begin for begin, _, _, _ in found], dtype=np.int64))
            ends.append(np.array([end for _, end, _, _ in found], dtype=np.int64))
            damaged.update((begin, reason) for begin, _, _, reason in found if reason is not None)
            start, window = found[-1][2] if found else start, _FIRST_WINDOW
            if in_order < _IN_ORDER_BY_HAND:
                break  # the text has ended, or its last record is not complete
        if self._final and start < len(self._text):
            starts.append(np.array([start]))
            ends.append(np.array([len(self._text)]))
            start = len(self._text)
        return Records(np.concatenate(starts), np.concatenate(ends), damaged, start), in_order

    def _in_order(self, start: int, window: int) -> tuple[Positions, int, bool]:
        """The quotes from `start` on that alternately open and close, and where they end.

        They end at the first misplaced quote, or at the quote that opens its field, or at a quote that nothing closes, or with
        the text. Quotes that are ordinary characters are left out. The third value says whether there is a misplaced quote; in
        a final text, one that nothing closes is.
        """
        first = int(np.searchsorted(self._quotes, start))
        while True:
            quotes = self._quotes[first : first + window]
            pairs, trouble = self._pairs(quotes, start)
            if trouble is not None:
                return pairs, trouble, True
            if first + window >= len(self._quotes):
                return (pairs[:-1], int(pairs[-1]), self._final) if len(pairs) % 2 else (pairs, len(self._text), False)
            window *= 2

    def _pairs(self, quotes: Positions, start: int) -> tuple[Positions, int | None]:
        """The quotes that alternately open and close, up to the first misplaced one, and the position of that one.

        The bytes before and after a quote decide what it can do. After a quote that can only open, the text is quoted; after
        one that can only close, it is unquoted; one that can do both toggles the state. So the state at a quote follows from
        the last quote of the first two kinds, and from the number of quotes of the third kind since.
        """
        if not len(quotes):
            return quotes, None
        if self._can_open(quotes[::2], start).all() and self._can_close(quotes[1::2]).all():
            return quotes, None  # what follows says the same of such quotes, in several times the time
        can_open, can_close = self._can_open(quotes, start), self._can_close(quotes)
        settled = np.maximum.accumulate(np.where(can_open != can_close, np.arange(len(quotes)), -1))
        turned = np.cumsum(can_open & can_close)
        turned_since: Positions = turned - np.where(settled >= 0, turned[settled], 0)
        quoted = np.where(settled >= 0, can_open[settled], False) ^ (turned_since % 2 == 1)  # noqa: FBT003, numpy's own signature
        within = np.concatenate([[False], quoted[:-1]])
        literal = ~within & ~can_open
        wrong = within & ~can_close
        # A quote directly after one that is an ordinary character opens no field.
        wrong[1:] |= literal[:-1] & ~within[1:] & can_open[1:] & (np.diff(quotes) == 1)
        if not wrong.any():
            return quotes[~literal], None
        at = int(np.argmax(wrong))
        pairs = quotes[:at][~literal[:at]]
        return (pairs[:-1], int(pairs[-1])) if len(pairs) % 2 else (pairs, int(quotes[at]))

    def _can_open(self, quotes: Positions, start: int) -> npt.NDArray[np.bool_]:
        opens: npt.NDArray[np.bool_] = self._fits[self._content[quotes - 1]] | (quotes == start)
        return opens

    def _can_close(self, quotes: Positions) -> npt.NDArray[np.bool_]:
        last = len(self._text) - 1
        closes: npt.NDArray[np.bool_] = self._fits[self._content[np.minimum(quotes + 1, last)]]
        closes[quotes == last] = self._final
        return closes

    def _outside(self, start: int, bound: int, quotes: Positions) -> tuple[Positions, Positions]:
        """The line ends in a range that are outside all these pairs of quotes."""
        low, high = np.searchsorted(self._line_ends, [start, bound])
        ends, nexts = self._line_ends[low:high], self._next_lines[low:high]
        if len(quotes) < len(ends):
            lines = np.searchsorted(ends, quotes)
            if (lines[::2] == lines[1::2]).all():
                return (
                    ends,
                    nexts,
                )  # each pair is in one line, which is told sooner than for each line end how many are before it
        outside = np.searchsorted(quotes, ends) % 2 == 0
        return ends[outside], nexts[outside]

    def _some_by_hand(self, start: int, in_order: int) -> tuple[list[tuple[int, int, int, str | None]], int]:
        """Parse records from `start` on, until several in a row are in order; also returns how many are.

        Each result has the record's start and end, the start of the next one, and the reason if the record is damaged.
        """
        found: list[tuple[int, int, int, str | None]] = []
        while (
            in_order < _IN_ORDER_BY_HAND and start < len(self._text) and (by_hand := self._by_hand(start)) is not None
        ):
            end, following, reason = by_hand
            found.append((start, end, following, reason))
            in_order = 0 if reason is not None else in_order + 1
            start = following
        return found, in_order

    def _by_hand(self, start: int) -> tuple[int, int, str | None] | None:
        """End of the record at `start`, start of the next one, and the damage if any; None if the record is incomplete."""
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
        """Where the quoted field ends, -1 for nowhere, and the damage if any; None if that is not known yet."""
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
                return -1, reason  # this quote opens a field, so the earlier one is unclosed
            if reason is None:
                reason = INNER_QUOTE
                limit = min(limit, found + _LENIENT_BYTES)
            search = found + 1
        # Not found. More text might contain it, unless the search has reached its limit.
        if not self._final and limit == len(text) and len(text) - start <= self._record_bytes_max:
            return None
        return -1, reason

    def _line_end(self, position: int, reason: str | None) -> tuple[int, int, str | None] | None:
        at = int(np.searchsorted(self._line_ends, position))
        if at < len(self._line_ends):
            return int(self._line_ends[at]), int(self._next_lines[at]), reason
        return (len(self._text), len(self._text), reason) if self._final else None
