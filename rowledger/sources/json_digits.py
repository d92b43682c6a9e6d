"""Numbers and dates straight from the bytes of a text, a column at a time: no text is made of them first.

Eight bytes are one word of 64 bits, so a few operations on arrays read eight digits of every cell. Only plain forms are read
here: numbers without an exponent and with at most 18 characters, dates as 2024-12-31. Of cells in another form it is only said
that they are, and a parser of texts decides.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Cells", "Numbers", "as_decimals", "as_doubles", "read_dates", "read_numbers"]

_Integers = npt.NDArray[np.int64]
_Words = npt.NDArray[Any]  # of np.uint64, which the stubs lose where a Python integer is the other operand
_Booleans = npt.NDArray[np.bool_]

_WORD_BYTES = 8
_CHARACTERS_MAX = 18  # as many digits are less than 2^63
_DOUBLE_DIGITS = 15  # digits that an integer and a power of ten may have, so that their quotient is the nearest double
_DATE_BYTES = len("2024-12-31")
_YEAR_MAX, _MONTHS = 9999, 12
_MONTHS_TO_1970 = 1970 * _MONTHS
_MINUS, _ZERO = b"-0"
_POINT = ord(".") ^ _ZERO


def _every_byte(byte: int) -> int:
    return int.from_bytes(bytes([byte] * _WORD_BYTES), "little")


def _last_bytes(count: int) -> int:
    """The mask of a word's last bytes, which in the text are its last characters."""
    return (2**64 - 1) << 8 * (_WORD_BYTES - count) & (2**64 - 1)


_LAST = np.array([_last_bytes(count) for count in range(_WORD_BYTES + 1)], dtype=np.uint64)
_ZEROS, _TO_HIGH, _HIGH = _every_byte(_ZERO), _every_byte(0x80 - 10), _every_byte(0x80)
_PLACES = int.from_bytes(bytes(range(_WORD_BYTES)), "little")
"""Times 1 << 8 * b, this has 7 - b in its last byte: the number of bytes behind byte b."""
_BEHIND_POINT = np.array([2**64 - 1, *(_last_bytes(scale) for scale in range(1, _WORD_BYTES))], dtype=np.uint64)
_BEFORE_POINT = np.array([0, *(~_last_bytes(n + 1) & (2**64 - 1) for n in range(1, _WORD_BYTES))], dtype=np.uint64)
_POWERS = 10 ** np.arange(_CHARACTERS_MAX + 1, dtype=np.int64)
_BEFORE_DASHES = int.from_bytes(b"00-00-00", "little")
_DASHES = int.from_bytes(b"\0\0\xff\0\0\xff\0\0", "little")


@dataclass(frozen=True, slots=True)
class Cells:
    """Parts of a text of 8 bytes or more: cell `i` is from `starts[i]` to `ends[i]`."""

    text: bytes
    starts: _Integers
    ends: _Integers

    def word(self, number: int, some: _Integers | None = None) -> _Words:
        """Eight bytes of the text for each cell, or some: those up to its end, or, with a number, as many words before."""
        windows = np.ndarray(
            (len(self.text) - _WORD_BYTES + 1,), dtype=f"V{_WORD_BYTES}", buffer=self.text, strides=(1,)
        )
        places = (self.ends if some is None else self.ends[some]) - _WORD_BYTES * (number + 1)
        early = np.flatnonzero(places < 0) if places.min(initial=0) < 0 else ()  # in the text's first line
        words: _Words = windows[np.maximum(places, 0) if len(early) else places].view(np.uint64)
        for cell in early:
            found = self.text[: max(int(places[cell]) + _WORD_BYTES, 0)]
            words[cell] = int.from_bytes(found.rjust(_WORD_BYTES, b"\0"), "little")
        return words


class Numbers(NamedTuple):
    """Numbers as integers and the digits that each has behind its point, for those that are plain, as JSON has them.

    A negative zero is not plain: an integer has none.
    """

    unscaled: _Integers
    scales: _Integers
    are_plain: _Booleans


def read_numbers(cells: Cells, firsts: npt.NDArray[np.uint8]) -> Numbers:
    """The numbers that the cells are; `firsts` are their first bytes."""
    begins = cells.starts
    is_negative = firsts == _MINUS
    if has_negative := bool(is_negative.any()):
        begins = begins + is_negative
        firsts = np.frombuffer(cells.text, dtype=np.uint8)[begins]
    lengths = cells.ends - begins
    are_odd = (lengths - 1).view(np.uint64) >= _CHARACTERS_MAX
    digits, marks = _digits(cells.word(0), lengths)
    longer = np.flatnonzero(lengths > _WORD_BYTES)
    before: list[_Words] = [np.empty(0, dtype=np.uint64)] * 2
    for number in (1, 2) if len(longer) else ():
        before[number - 1], odd = _digits(cells.word(number, longer), lengths[longer] - number * _WORD_BYTES)
        are_odd[longer] |= odd != 0
    scales = np.zeros(len(lengths), dtype=np.int64)
    if marks.any():
        points = marks >> 7
        are_odd |= ((marks & (marks - 1)) | (marks >> 63) | (digits & points * 0xFF) ^ points * _POINT) != 0
        scales = ((points * _PLACES) >> 56).view(np.int64)
        scales &= _WORD_BYTES - 1
        digits = (digits & _BEHIND_POINT[scales]) | (digits & _BEFORE_POINT[scales]) << 8
        if len(longer):  # a point in the last word makes room in it for one digit more
            has_point = (scales[longer] > 0).astype(np.uint64)
            digits[longer] |= (before[0] >> 56) * has_point
            before = [(before[0] << has_point * 8) | (before[1] >> 56) * has_point, before[1] << has_point * 8]
        lengths -= scales + (scales > 0)
        are_odd |= lengths < 1
    are_odd |= (firsts == _ZERO) & (lengths > 1)
    unscaled = _value(digits).view(np.int64)
    if len(longer):
        unscaled[longer] += (_value(before[0]) * 10**8 + _value(before[1]) * 10**16).view(np.int64)
    if has_negative:
        are_odd |= is_negative & (unscaled == 0)
        np.negative(unscaled, out=unscaled, where=is_negative)
    return Numbers(unscaled, scales, ~are_odd)


def _digits(word: _Words, lengths: _Integers) -> tuple[_Words, _Words]:
    """The values of a word's last characters, as many as its length, and the high bit of each that is no digit."""
    word ^= _ZEROS
    word &= _LAST.take(lengths, mode="clip")
    odd = word + _TO_HIGH
    odd |= word
    odd &= _HIGH
    return word, odd


def _value(word: _Words) -> _Words:
    """The number that eight digits are, the first of which is a word's first byte."""
    value = word
    for base, shift, mask in ((10, 8, 0x00FF00FF00FF00FF), (100, 16, 0x0000FFFF0000FFFF), (10_000, 32, 0xFFFFFFFF)):
        value, before = value >> shift, value
        value += before * base
        value &= mask
    return value


def as_doubles(unscaled: _Integers, scales: _Integers) -> npt.NDArray[np.float64] | None:
    """The nearest doubles to plain numbers; None for numbers of so many digits that they would have to be rounded twice."""
    if (np.abs(unscaled) >= _POWERS[_DOUBLE_DIGITS]).any():
        return None
    quotients: npt.NDArray[np.float64] = unscaled / _POWERS[scales].astype(np.float64)
    return quotients


def as_decimals(unscaled: _Integers, scales: _Integers, precision: int, scale: int) -> _Integers | None:
    """Plain numbers times a power of ten, as a decimal type of these digits has them; None if they do not fit, or 64 bits."""
    if scale > _CHARACTERS_MAX or scales.max(initial=0) > scale:
        return None
    factors = _POWERS[scale - scales]
    if (np.abs(unscaled) >= int(_POWERS[min(precision, _CHARACTERS_MAX)]) // factors).any():
        return None
    scaled: _Integers = unscaled * factors
    return scaled


def read_dates(cells: Cells) -> tuple[_Integers, _Booleans]:
    """The days from 1970-01-01 to the dates that the cells are, as 2024-12-31, and which cells are that."""
    are_odd = cells.ends - cells.starts != _DATE_BYTES
    rest = cells.word(0) ^ _BEFORE_DASHES
    century = (cells.word(1) ^ _ZEROS) >> 48
    are_odd |= ((rest + _TO_HIGH | rest) & _HIGH | rest & _DASHES | (century + _TO_HIGH | century) & _HIGH) != 0
    rest = rest * 10 + (rest >> 8)
    years = (((century * 10 + (century >> 8)) & 0xFF) * 100 + (rest & 0xFF)).view(np.int64)
    months, days = (rest >> 24 & 0xFF).view(np.int64), (rest >> 48 & 0xFF).view(np.int64)
    are_odd |= (years < 1) | (years > _YEAR_MAX) | ((months - 1).view(np.uint64) >= _MONTHS) | (days < 1)
    months += years * _MONTHS - 1
    months[are_odd] = _MONTHS_TO_1970
    first = int(months.min(initial=_MONTHS_TO_1970))
    begins = np.arange(first, int(months.max(initial=_MONTHS_TO_1970)) + 2, dtype=np.int64) - _MONTHS_TO_1970
    begins = begins.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    months -= first
    are_odd |= days > np.diff(begins)[months]
    return begins[months] + days - 1, ~are_odd
