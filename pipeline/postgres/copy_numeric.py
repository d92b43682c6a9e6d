"""Decimal texts as binary COPY has a numeric: four header words, then its digits four by four, all big-endian words of 16 bits.

For numerics of more digits than a 128-bit decimal holds, or of any number of them. The words are the number of digit groups,
the weight of the first one (as a power of 10,000), the sign, and how many decimals are shown (PostgreSQL's numeric_send).
"""

from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

__all__ = ["numeric_fields"]

_GROUP = 4
_HEADER_WORDS = 4
_BATCH = 16_384  # values at once: what is made on the way stays in the processor's cache
_NEGATIVE = 0x4000
_SPECIALS = {"NaN": 0xC000, "Infinity": 0xD000, "-Infinity": 0xF000}


def numeric_fields(texts: pl.Series) -> pl.Series:
    """The bytes of each value's field; null where the text is null. Zeros in front and at the end are the server's to drop."""
    batches = (texts[start : start + _BATCH] for start in range(0, max(len(texts), 1), _BATCH))
    return pl.concat([_nullable_fields(batch) for batch in batches]).alias(texts.name)


def _nullable_fields(texts: pl.Series) -> pl.Series:
    if not texts.null_count():
        return _fields(texts)
    present = texts.is_not_null().to_numpy()
    take = np.where(present, np.cumsum(present), 0)  # the first, a null, stands for all nulls
    return pl.concat([pl.Series([None], dtype=pl.Binary), _fields(texts.drop_nulls())]).gather(take)


def _fields(texts: pl.Series) -> pl.Series:
    specials = {sign: (texts == text).to_numpy() for text, sign in _SPECIALS.items()}
    finite = texts.set(texts.is_in(list(_SPECIALS)), "0") if any(map(np.any, specials.values())) else texts
    length = finite.str.len_bytes().to_numpy().astype(np.int64)
    is_negative = finite.str.starts_with("-").to_numpy()
    point = finite.str.find(".", literal=True).fill_null(pl.Series(length)).to_numpy().astype(np.int64)
    whole, shown = point - is_negative, np.maximum(length - point - 1, 0)  # digits before and behind the point
    before, behind = -(-whole // _GROUP), -(-shown // _GROUP)

    size = _HEADER_WORDS + before + behind
    ends = np.cumsum(size)
    starts = ends - size
    words = np.empty(int(size.sum()), dtype=np.uint16)
    words[starts] = before + behind
    words[starts + 1] = before - 1
    words[starts + 2] = np.where(is_negative, _NEGATIVE, 0)
    words[starts + 3] = shown
    for sign, mask in specials.items():
        words[starts[mask] + 2] = sign
    is_digits = np.ones(len(words), dtype=np.bool_)
    for word in range(_HEADER_WORDS):
        is_digits[starts + word] = False
    words[is_digits] = _digit_groups(finite, whole + shown, before * _GROUP - whole, (before + behind) * _GROUP)

    offsets = np.concatenate([[0], ends * words.itemsize]).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(words.astype(">u2").tobytes())]
    return pl.Series(pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(texts), buffers))


def _digit_groups(
    texts: pl.Series, digits: npt.NDArray[np.int64], skipped: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint16]:
    """Each value's `digits` in its `places`, a multiple of four, behind so many `skipped` ones; four by four as numbers."""
    array = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, content = array.buffers()
    first, last = np.frombuffer(memoryview(cast("pa.Buffer", offsets)), dtype=np.int64)[
        [array.offset, array.offset + len(array)]
    ]
    characters = np.frombuffer(memoryview(cast("pa.Buffer", content)), dtype=np.uint8)[first:last]
    found = characters[characters >= ord("0")] - np.uint8(ord("0"))  # neither sign nor point
    shifts = np.cumsum(places) - places + skipped - (np.cumsum(digits) - digits)
    placed = np.zeros(int(places.sum()), dtype=np.uint8)
    placed[np.repeat(shifts, digits) + np.arange(len(found))] = found
    quads = placed.reshape(-1, _GROUP)
    thousands, hundreds, tens, ones = (quads[:, place].astype(np.uint16) for place in range(_GROUP))
    numbers: npt.NDArray[np.uint16] = (
        thousands * np.uint16(1000) + hundreds * np.uint16(100) + tens * np.uint16(10) + ones
    )
    return numbers
