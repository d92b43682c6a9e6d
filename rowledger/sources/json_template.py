"""Find the cells of JSON lines that are written like a line that is known: one comparison of bytes for each key.

What lines have in common are the pieces before, between and after their values: {"key": and ,"key": and }.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

__all__ = ["Block", "Key", "Template", "are_all"]

Integers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_QUOTE = ord('"')
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
    """What every line has before a value, or at its end: some bytes, from `lead` bytes before its quote number `quote` on."""

    quote: int
    lead: int
    literal: bytes


@dataclass(frozen=True, slots=True)
class Template:
    """How a line is written: a piece, a value, a piece, a value, and so on; its end is the last piece."""

    names: list[str]
    are_texts: Integers
    pieces: list[_Piece]
    widths: Integers
    end: bytes
    quotes: int
    ends_with_text: bool

    @classmethod
    def of(cls, text: bytes, quotes: Integers, start: int, stop: int, cells: list[tuple[str, int, int]]) -> Self:
        """Of the line from `start` to `stop`, with its quotes, and each cell's name, start and end in the line's order."""
        pieces, position = [], start
        for _, cell_start, cell_end in cells:
            quote = int(np.searchsorted(quotes, position))
            pieces.append(_Piece(quote, int(quotes[quote]) - position, text[position:cell_start]))
            position = cell_end
        return cls(
            names=[name for name, _, _ in cells],
            are_texts=np.array([[int(text[cell_start - 1] == _QUOTE)] for _, cell_start, _ in cells]),
            pieces=pieces,
            widths=np.array([[len(piece.literal)] for piece in pieces]),
            end=text[position:stop],
            quotes=len(quotes),
            ends_with_text=text[position] == _QUOTE,
        )

    def block(
        self, signs: Bytes, quotes: Integers, escapes: Integers, start: int, stop: int, controls: int
    ) -> Block | None:
        """The lines from `start` to `stop`, unless one of them is written in another way."""
        lines, rest = divmod(len(quotes), self.quotes)
        if rest or controls != lines * sum(sign < _CONTROLS_END for sign in self.end):
            return None
        places = np.ascontiguousarray(quotes.reshape(lines, self.quotes).T)
        line_starts = places[0] - self.pieces[0].lead
        line_stops = np.append(line_starts[1:], stop)
        if line_starts[0] != start:
            return None
        # A row for each piece: where it begins in each line.
        befores = np.empty((len(self.pieces) + 1, lines), dtype=np.int64)
        for before, piece in zip(befores, self.pieces, strict=False):
            np.subtract(places[piece.quote], piece.lead, out=before)
        np.subtract(line_stops, len(self.end), out=befores[-1])
        if self.ends_with_text and not np.array_equal(places[-1], befores[-1]):
            return None
        literals = [*(piece.literal for piece in self.pieces), self.end]
        if not all(are_all(signs, before, literal) for before, literal in zip(befores, literals, strict=True)):
            return None
        starts = befores[:-1] + self.widths
        firsts = signs[starts - self.are_texts]
        if np.count_nonzero(firsts == _QUOTE) != lines * np.count_nonzero(self.are_texts):
            return None  # a text, where the other line has quotes within a list or an object
        return Block(
            line_starts,
            line_stops - 1,
            np.empty(0, dtype=np.int64),
            starts.ravel(),
            befores[1:].ravel(),
            firsts.ravel(),
            [Key(name, number * lines, (number + 1) * lines, None) for number, name in enumerate(self.names)],
            escapes,
        )


def are_all(signs: Bytes, starts: Integers, literal: bytes) -> bool:
    """Whether the literal is at each of these positions, which ascend."""
    width = len(literal)
    if not width:
        return True
    if starts[0] < 0 or starts[-1] + width > len(signs):
        return False
    windows = np.ndarray((len(signs) - width + 1,), dtype=f"V{width}", buffer=signs.data, strides=(1,))
    return windows[starts].tobytes() == literal * len(starts)
