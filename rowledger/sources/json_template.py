"""Find the cells of JSON lines that are written like a line that is known: one comparison of bytes for each key.

What lines have in common are the pieces before, between and after their values: {"key": and ,"key": and }.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from rowledger.sources.text_records import marked_positions

__all__ = ["PART_BYTES", "Block", "Key", "Template", "are_all", "count_controls", "where"]

PART_BYTES = 2**20
"""The arrays of so many bytes stay in a processor's cache, and each call of numpy has some thousand lines to work on."""

Integers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_QUOTE, _COLON = b'":'
_CONTROLS_END = 32


class Key(NamedTuple):
    """A key of a block: its cells are those from `start` on, before `stop`, in these lines; None stands for all lines."""

    name: str
    start: int
    stop: int
    lines: Integers | None


@dataclass(frozen=True, slots=True)
class Block:
    """The lines of a part of a text that are not blank, and the cells of those that are not in doubt.

    All positions count from the beginning of the text. `in_doubt` are numbers of lines. `starts` and `ends` are the bounds of
    the cells, a text's without its quotes, and `firsts` their first bytes, a text's its quote. `keys` are in the order in which
    they come up. `escapes` are the backslashes.
    """

    line_starts: Integers
    line_ends: Integers
    in_doubt: Integers
    starts: Integers
    ends: Integers
    firsts: Bytes
    keys: list[Key]
    escapes: Integers


@dataclass(frozen=True, slots=True)
class _Piece:
    """What every line has before a value.

    It begins `quote_lead` bytes before the line's quote number `quote`, and `key_lead` bytes before the end of its key
    number `key`, nested keys included.
    """

    literal: bytes
    quote: int
    quote_lead: int
    key: int
    key_lead: int


@dataclass(frozen=True, slots=True)
class Template:
    """How a line is written: a piece, a value, a piece, a value, and so on; its end is the last piece.

    A line has so many `quotes` and `key_ends`. It `is_flat` if all its quotes are in its pieces.
    """

    names: list[str]
    are_texts: npt.NDArray[np.bool_]
    pieces: list[_Piece]
    end: bytes
    quotes: int
    key_ends: int
    is_flat: bool
    ends_with_text: bool

    @classmethod
    def of(cls, text: bytes, quotes: Integers, start: int, stop: int, cells: list[tuple[str, int, int]]) -> Self:
        """Of the line from `start` to `stop`, with its quotes, and each cell's name, start and end in the line's order."""
        signs = np.frombuffer(text, dtype=np.uint8)
        key_ends = _key_ends(signs[start:stop]) + start
        pieces, position = [], start
        for _, cell_start, cell_end in cells:
            quote, key = int(np.searchsorted(quotes, position)), int(np.searchsorted(key_ends, cell_start)) - 1
            literal = text[position:cell_start]
            pieces.append(
                _Piece(literal, quote, int(quotes[quote]) - position, key, max(int(key_ends[key]), 0) - position)
            )
            position = cell_end
        end = text[position:stop]
        return cls(
            names=[name for name, _, _ in cells],
            are_texts=np.array([text[cell_start - 1] == _QUOTE for _, cell_start, _ in cells]),
            pieces=pieces,
            end=end,
            quotes=len(quotes),
            key_ends=len(key_ends),
            is_flat=sum(piece.literal.count(b'"') for piece in pieces) + end.count(b'"') == len(quotes),
            ends_with_text=text[position] == _QUOTE,
        )

    def block_of(self, signs: Bytes, start: int, stop: int, controls: int) -> Block | None:
        """The lines from `start` to `stop`, which have no backslash, unless one of them is written in another way.

        Only for a flat template. A value may be of another kind than the known line's. If there are no more quotes than in the
        pieces, and around texts, no value has one within it.
        """
        ends = _key_ends(signs[start:stop])
        lines, rest = divmod(len(ends), self.key_ends)
        if rest or lines != controls // self.controls:
            ends = ends[signs[start + ends - 1] != _COLON]  # without the beginnings of texts that begin with a colon
            lines, rest = divmod(len(ends), self.key_ends)
        if rest or not lines or stop - start > 2 * PART_BYTES:
            return None
        quotes = int(np.count_nonzero(signs[start:stop] == _QUOTE))
        ends = ends.reshape(lines, self.key_ends)
        if quotes == lines * self.quotes:
            begins = [ends[:, piece.key] + (start - piece.key_lead) for piece in self.pieces]
            if found := self._block(signs, begins, np.empty(0, dtype=np.int64), start, stop, controls):
                return found
        return self._block_of_any_kinds(signs, ends, quotes, start, stop, controls)

    def _block_of_any_kinds(
        self, signs: Bytes, key_ends: Integers, quotes: int, start: int, stop: int, controls: int
    ) -> Block | None:
        """The same where some of the texts are null, or the other way around."""
        were_texts = [False, *self.are_texts[:-1].tolist()]
        cores, begins = [], []
        for piece, was_text, is_text in zip(self.pieces, were_texts, self.are_texts.tolist(), strict=True):
            cores.append(piece.literal[was_text : len(piece.literal) - is_text])
            begins.append(key_ends[:, piece.key] + (start - piece.key_lead + was_text))
        line_ends = self._line_ends(signs, begins, [*cores, self.end[self.ends_with_text :]], start, stop, controls)
        if line_ends is None:
            return None
        starts = np.stack([begin + len(core) for begin, core in zip(begins, cores, strict=False)])
        ends = np.stack(begins[1:])
        if (ends <= starts).any():
            return None
        firsts = signs[starts]
        are_texts = firsts == _QUOTE
        if quotes != len(line_ends) * b"".join(cores).count(b'"') + 2 * np.count_nonzero(are_texts):
            return None
        starts += are_texts
        ends -= are_texts
        if (are_texts & ((ends < starts) | (signs[ends] != _QUOTE))).any():
            return None
        return self._made(begins[0], line_ends, starts, ends, firsts, np.empty(0, dtype=np.int64))

    def block_by_quotes(
        self, signs: Bytes, quotes: Integers, escapes: Integers, start: int, stop: int, controls: int
    ) -> Block | None:
        """The same of any lines, by their quotes, which are not escaped, and their backslashes."""
        lines, rest = divmod(len(quotes), self.quotes)
        if rest:
            return None
        places = quotes.reshape(lines, self.quotes)
        if self.ends_with_text and not np.array_equal(
            places[:-1, -1] + len(self.end), places[1:, 0] - self._first_quote
        ):
            return None
        return self._block(
            signs, [places[:, piece.quote] - piece.quote_lead for piece in self.pieces], escapes, start, stop, controls
        )

    @property
    def controls(self) -> int:
        """The control characters of a line, which are its end."""
        return sum(sign < _CONTROLS_END for sign in self.end)

    @property
    def _first_quote(self) -> int:
        return self.pieces[0].quote_lead

    def _block(
        self, signs: Bytes, begins: list[Integers], escapes: Integers, start: int, stop: int, controls: int
    ) -> Block | None:
        """The block whose pieces begin there in each line, if all are where they should be."""
        literals = [*(piece.literal for piece in self.pieces), self.end]
        line_ends = self._line_ends(signs, begins, literals, start, stop, controls)
        if line_ends is None:
            return None
        lines = len(line_ends)
        starts = np.empty((len(self.pieces), lines), dtype=np.int64)
        ends = np.empty_like(starts)
        firsts = np.full(starts.shape, _QUOTE, dtype=np.uint8)
        for number, piece in enumerate(self.pieces):
            np.add(begins[number], len(piece.literal), out=starts[number])
            ends[number] = begins[number + 1]
            if not self.are_texts[number]:
                firsts[number] = signs[starts[number]]
        # No piece may reach into the next one, and no text be where the other line has quotes within a list or an object.
        if (ends < starts).any() or np.count_nonzero(firsts == _QUOTE) != lines * np.count_nonzero(self.are_texts):
            return None
        return self._made(begins[0], line_ends, starts, ends, firsts, escapes)

    def _line_ends(
        self, signs: Bytes, begins: list[Integers], literals: list[bytes], start: int, stop: int, controls: int
    ) -> Integers | None:
        """Where the lines end, if each literal but the last is where it begins; adds to `begins` where the last one does."""
        if controls != len(begins[0]) * self.controls or begins[0][0] != start:
            return None
        line_stops = np.append(begins[0][1:], stop)
        begins.append(line_stops - len(literals[-1]))
        if not all(are_all(signs, found, literal) for found, literal in zip(begins, literals, strict=True)):
            return None
        line_ends: Integers = line_stops - 1
        return line_ends

    def _made(
        self,
        line_starts: Integers,
        line_ends: Integers,
        starts: Integers,
        ends: Integers,
        firsts: Bytes,
        escapes: Integers,
    ) -> Block:
        lines = len(line_ends)
        return Block(
            line_starts,
            line_ends,
            np.empty(0, dtype=np.int64),
            starts.ravel(),
            ends.ravel(),
            firsts.ravel(),
            [Key(name, number * lines, (number + 1) * lines, None) for number, name in enumerate(self.names)],
            escapes,
        )


def _key_ends(signs: Bytes) -> Integers:
    """Where a quote is before a colon; in a text without backslashes, where keys end, and nowhere else but within values."""
    if len(signs) > PART_BYTES:
        quotes = where(signs[:-1], lambda part: part == _QUOTE)
        ends: Integers = quotes[signs[quotes + 1] == _COLON]
    else:
        ends = marked_positions((signs[:-1] == _QUOTE) & (signs[1:] == _COLON))
    return ends


def where(signs: Bytes, test: Callable[[Bytes], npt.NDArray[Any]]) -> Integers:
    """The places of bytes that pass the test, which is tried on so few of them at a time that a long line takes no memory."""
    if len(signs) <= PART_BYTES:
        return np.flatnonzero(test(signs))
    starts = range(0, len(signs), PART_BYTES)
    return np.concatenate([np.flatnonzero(test(signs[start : start + PART_BYTES])) + start for start in starts])


def count_controls(signs: Bytes) -> int:
    """The number of control characters, which JSON does not allow within a text."""
    starts = range(0, len(signs), PART_BYTES)
    return sum(int(np.count_nonzero(signs[start : start + PART_BYTES] < _CONTROLS_END)) for start in starts)


def are_all(signs: Bytes, starts: Integers, literal: bytes) -> bool:
    """Whether the literal is at each of these positions, which ascend."""
    width = len(literal)
    if not width:
        return True
    if starts[0] < 0 or starts[-1] + width > len(signs):
        return False
    windows = np.ndarray((len(signs) - width + 1,), dtype=f"V{width}", buffer=signs.data, strides=(1,))
    return windows[starts].tobytes() == literal * len(starts)
