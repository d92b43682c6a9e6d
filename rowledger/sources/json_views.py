"""What the cells of JSON lines hold: their kinds, and for each a number, a date, or a view of its text.

A block is read while its text is in the processor's cache, many columns at a time. What is a number in all lines of a block has
no text made of it; a reader that needs the texts makes them later, from where the cells begin and end.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from rowledger.contract import polars_series
from rowledger.sources.json_digits import Cells, read_dates, read_numbers
from rowledger.sources.json_template import Block

__all__ = [
    "ABSENT",
    "ESCAPED",
    "LITERAL",
    "NESTED",
    "NUMBER",
    "PARSED",
    "TEXT",
    "UNKNOWN",
    "CellReader",
    "CellValues",
    "Form",
]

_Integers = npt.NDArray[np.int64]
_Booleans = npt.NDArray[np.bool_]
_Words = npt.NDArray[np.uint64]
_Kinds = npt.NDArray[np.uint8]

_VIEW_BYTES = 16
_LENGTH_BYTES = 4
_INLINE_BYTES_MAX = 12

ABSENT, PARSED, TEXT, ESCAPED, NUMBER, LITERAL, NESTED, UNKNOWN = range(8)
_KINDS = np.full(256, UNKNOWN, dtype=np.uint8)
_KINDS[ord('"')] = TEXT
_KINDS[[*b"-0123456789"]] = NUMBER
_KINDS[[*b"tfn"]] = LITERAL
_KINDS[[*b"[{"]] = NESTED


class Form(Enum):
    """What is known of each cell of a column; of a literal among numbers and dates, nothing."""

    VIEW = "the text, in two words: its length, and its bytes or where they are"
    NUMBER = "the number without its point; the digits behind the point"
    DATE = "the days from 1970-01-01"


@dataclass(frozen=True, slots=True)
class CellValues:
    """Some cells of one column, and what their form has of each."""

    rows: _Integers
    starts: _Integers
    ends: _Integers
    kinds: _Kinds
    form: Form
    words: tuple[npt.NDArray[Any], ...]


class CellReader:
    """Reads cells of a text of less than 2 GiB. Columns whose type is to be Date are read as dates."""

    def __init__(self, text: bytes, types: Mapping[str, pl.DataType]) -> None:
        self._text = text.ljust(_VIEW_BYTES, b"\0")
        self._types = types
        self._windows = np.ndarray(
            (len(self._text) - _VIEW_BYTES + 1,), dtype=f"V{_VIEW_BYTES}", buffer=self._text, strides=(1,)
        )

    def read(self, block: Block, rows: _Integers) -> Iterator[tuple[str, CellValues]]:
        """The values of each column of a block; `rows` are the numbers of its lines."""
        kinds = _KINDS[block.firsts]
        if len(block.escapes):
            has_escape = np.searchsorted(block.escapes, block.starts) < np.searchsorted(block.escapes, block.ends)
            kinds[(kinds == TEXT) & has_escape] = ESCAPED
        forms = [self._form(name, kinds[start:stop]) for name, start, stop, _ in block.keys]
        for form, run in groupby(zip(forms, block.keys, strict=True), lambda found: found[0]):
            keys = [key for _, key in run]  # one after another, so their cells are read at once
            first, last = keys[0].start, keys[-1].stop
            words, are_read = self._words(form, block, kinds, first, last)
            for name, start, stop, lines in keys:
                starts, ends, own = block.starts[start:stop], block.ends[start:stop], slice(start - first, stop - first)
                is_read = are_read is None or bool(are_read[own].all())
                yield (
                    name,
                    CellValues(
                        rows if lines is None else rows[lines],
                        starts,
                        ends,
                        kinds[start:stop],
                        form if is_read else Form.VIEW,
                        tuple(word[own] for word in words) if is_read else (self.views(starts, ends),),
                    ),
                )

    def _form(self, name: str, kinds: _Kinds) -> Form:
        """What may be read of cells of these kinds."""
        wanted = TEXT if self._types.get(name) == pl.Date() else NUMBER
        low, high = int(kinds.min()), int(kinds.max())
        if low != wanted or not (
            high == wanted or (high == LITERAL and ((kinds == wanted) | (kinds == LITERAL)).all())
        ):
            return Form.VIEW
        return Form.NUMBER if wanted == NUMBER else Form.DATE

    def _words(
        self, form: Form, block: Block, kinds: _Kinds, first: int, last: int
    ) -> tuple[tuple[npt.NDArray[Any], ...], _Booleans | None]:
        """The words of cells of a block, as a form has them, and which are of that form; None if all are."""
        starts, ends, kinds = block.starts[first:last], block.ends[first:last], kinds[first:last]
        if form is Form.VIEW:
            return (self.views(starts, ends),), None
        firsts, given = block.firsts[first:last], None
        if kinds.max() == LITERAL:
            given = np.flatnonzero(kinds != LITERAL)
            starts, ends, firsts = starts[given], ends[given], firsts[given]
        cells = Cells(self._text, starts, ends)
        found = read_dates(cells) if form is Form.DATE else read_numbers(cells, firsts)
        if given is None:
            return found[:-1], found[-1]
        spread = [np.zeros(len(kinds), dtype=np.int64) for _ in found[:-1]]
        are_read = np.ones(len(kinds), dtype=np.bool_)
        for whole, part in zip([*spread, are_read], found, strict=True):
            whole[given] = part
        return tuple(spread), are_read

    def views(self, starts: _Integers, ends: _Integers) -> _Words:
        """Arrow's views of cells: two words for each, which hold its length, and its bytes or where in the text they are."""
        lengths = ends - starts
        places = starts - _LENGTH_BYTES  # a line has as many bytes before its first value
        last = len(self._windows) - 1
        views = self._windows[np.minimum(places, last)].view(np.uint64).reshape(-1, 2)
        for late in np.flatnonzero(places > last):
            views[late] = np.frombuffer(self._text[places[late] :].ljust(_VIEW_BYTES, b"\0"), dtype=np.uint64)
        views &= _MASKS[np.minimum(lengths, _INLINE_BYTES_MAX + 1)].view(np.uint64).reshape(-1, 2)
        views[:, 0] |= lengths.view(np.uint64)
        views[:, 1] |= np.where(lengths > _INLINE_BYTES_MAX, starts << 32, 0).view(np.uint64)
        return views

    def texts(self, starts: _Integers, lengths: _Integers) -> list[bytes]:
        """The bytes from each start on."""
        return [
            self._text[start : start + length] for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
        ]

    def series(self, views: _Words, is_given: _Booleans) -> pl.Series:
        """The cells' texts, null where they are not given."""
        validity = None if is_given.all() else pa.py_buffer(np.packbits(is_given, bitorder="little").data)
        buffers = [validity, pa.py_buffer(views.data), pa.py_buffer(self._text)]
        return polars_series("", pa.Array.from_buffers(pa.string_view(), len(views), buffers))


def _masks() -> npt.NDArray[np.void]:
    """What of a view is a text's own bytes, for each length; the last mask is for texts that are elsewhere."""
    masks = np.zeros((_INLINE_BYTES_MAX + 2, _VIEW_BYTES), dtype=np.uint8)
    for length in range(_INLINE_BYTES_MAX + 1):
        masks[length, _LENGTH_BYTES : _LENGTH_BYTES + length] = 255
    masks[-1, _LENGTH_BYTES : 2 * _LENGTH_BYTES] = 255
    return masks.view(f"V{_VIEW_BYTES}").ravel()


_MASKS = _masks()
