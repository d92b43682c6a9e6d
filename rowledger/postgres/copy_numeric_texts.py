"""Encode decimal texts as numerics of binary COPY: four header words, then groups of four digits, all big-endian 16-bit words.

For numerics that have more digits than a 128-bit decimal holds, or no limit. The header words are the number of digit groups,
the weight of the first group (as a power of 10,000), the sign, and the number of decimals shown (PostgreSQL's numeric_send).
"""

from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

__all__ = ["numeric_fields"]

_GROUP = 4
_HEADER_WORDS = 4
_BATCH = 16_384  # values at a time: the intermediate arrays stay in the processor's cache
_NEGATIVE = 0x4000
_SPECIALS = {"NaN": 0xC000, "Infinity": 0xD000, "-Infinity": 0xF000}


def numeric_fields(texts: pl.Series) -> pl.Series:
    """The bytes of each value's field; null where the text is null. The server strips leading and trailing zeros."""
    batches = (texts[start : start + _BATCH] for start in range(0, max(len(texts), 1), _BATCH))
    return pl.concat([_nullable_fields(batch) for batch in batches]).alias(texts.name)


def _nullable_fields(texts: pl.Series) -> pl.Series:
    if not texts.null_count():
        return _fields(texts)
    present = texts.is_not_null().to_numpy()
    take = np.where(present, np.cumsum(present), 0)  # index 0 is the null
    return pl.concat([pl.Series([None], dtype=pl.Binary), _fields(texts.drop_nulls())]).gather(take)


def _fields(texts: pl.Series) -> pl.Series:
    if not len(texts):
        return texts.cast(pl.Binary)
    characters, starts, ends = _content(texts)
    signs = np.where(characters[starts] == ord("-"), _NEGATIVE, 0)
    if characters.max() > ord("9"):
        finite = texts
        for special, sign in _SPECIALS.items():
            found = (texts == special).to_numpy()
            signs[found] = sign
            finite = finite.set(pl.Series(found), "0")
        characters, starts, ends = _content(finite)

    begins = starts + (signs == _NEGATIVE)
    points = ends.copy()
    found_points = np.flatnonzero(characters == ord(".")).astype(np.int32)
    points[np.searchsorted(ends, found_points, side="right")] = found_points
    whole, shown = points - begins, np.maximum(ends - points - 1, 0)  # digits before and after the point
    before, behind = -(-whole // _GROUP), -(-shown // _GROUP)
    groups = before + behind

    word_ends = np.cumsum(groups + _HEADER_WORDS)
    headers = word_ends - groups - _HEADER_WORDS
    words = np.empty(int(word_ends[-1]), dtype=">u2")
    is_digits = np.ones(len(words), dtype=np.bool_)
    for word, values in enumerate((groups, before - 1, signs, shown)):
        words[headers + word] = values
        is_digits[headers + word] = False
    words[is_digits] = _digit_groups(characters, whole + shown, before * _GROUP - whole, groups * _GROUP)

    offsets = np.concatenate([[0], word_ends * words.itemsize]).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(words.tobytes())]
    return pl.Series(pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(texts), buffers))


def _content(texts: pl.Series) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The characters of all texts, and the positions where each text begins and ends in them."""
    array = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, content = array.buffers()
    bounds = np.frombuffer(memoryview(cast("pa.Buffer", offsets)), dtype=np.int64)[
        array.offset : array.offset + len(array) + 1
    ]
    characters = np.frombuffer(memoryview(cast("pa.Buffer", content)), dtype=np.uint8)[bounds[0] : bounds[-1]]
    places = (bounds - bounds[0]).astype(np.int32)
    return characters, places[:-1], places[1:]


def _digit_groups(
    characters: npt.NDArray[np.uint8],
    digits: npt.NDArray[np.int32],
    skipped: npt.NDArray[np.int32],
    places: npt.NDArray[np.int32],
) -> npt.NDArray[np.uint16]:
    """The groups of four digits as numbers.

    Each value has `digits` digits in `places` places, a multiple of four; its first `skipped` places are zeros.
    """
    found = characters[characters >= ord("0")] - np.uint8(ord("0"))  # without signs and points
    shifts = (np.cumsum(places - digits) - places + digits + skipped).astype(np.int32)
    placed = np.zeros(int(places.sum()), dtype=np.uint8)
    placed[np.repeat(shifts, digits) + np.arange(len(found), dtype=np.int32)] = found
    quads = placed.reshape(-1, _GROUP)
    thousands, hundreds, tens, ones = (quads[:, place].astype(np.uint16) for place in range(_GROUP))
    numbers: npt.NDArray[np.uint16] = (
        thousands * np.uint16(1000) + hundreds * np.uint16(100) + tens * np.uint16(10) + ones
    )
    return numbers
