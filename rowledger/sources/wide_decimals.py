"""Decimals as 256-bit integers of one scale, made by NumPy; pyarrow's cast does the same several times slower."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["EVERY_DECIMAL", "wide_words"]

EVERY_DECIMAL = pa.decimal256(76, 38)
"""38 digits before the point and 38 after it."""
_HALF = np.uint64(32)
_LOW = np.uint64(2**32 - 1)
_SMALL = range(1 - 2**32, 2**32)

_Words = npt.NDArray[np.uint64]


def wide_words(array: Any) -> Any:  # noqa: ANN401, a pyarrow.Array
    """What the values of an array without nulls, of decimals or of their texts, are as EVERY_DECIMAL: 32 bytes for each."""
    kind = array.type
    if pa.types.is_decimal128(kind) and len(array):
        halves = np.frombuffer(array.buffers()[1], dtype=np.int64).reshape(-1, 2)[array.offset :][: len(array)]
        values = np.ascontiguousarray(halves[:, 0])
        if int(values.min()) in _SMALL and int(values.max()) in _SMALL and (values >> 63 == halves[:, 1]).all():
            return _scaled(values, 10 ** (EVERY_DECIMAL.scale - kind.scale))
    return array.cast(EVERY_DECIMAL).buffers()[1]


def _scaled(values: npt.NDArray[np.int64], factor: int) -> _Words:
    """The products, each as four words in two's complement, the lowest first. Needs _SMALL values, a factor below 2**127."""
    magnitudes = np.abs(values).view(np.uint64)
    first, second, third, fourth = (
        magnitudes * np.uint64(factor >> shift & (2**32 - 1)) for shift in range(0, 128, 32)
    )
    second += first >> _HALF
    third += second >> _HALF
    fourth += third >> _HALF
    words = np.empty((len(values), 4), dtype=np.uint64)
    words[:, 0] = (first & _LOW) | (second << _HALF)
    words[:, 1] = (third & _LOW) | (fourth << _HALF)
    words[:, 2] = fourth >> _HALF
    words[:, 3] = 0
    if (negative := np.flatnonzero(values < 0)).size:
        words[negative] = _negated(words[negative])
    return words


def _negated(words: _Words) -> _Words:
    words = ~words
    carry = np.ones(len(words), dtype=np.uint64)
    for word in range(words.shape[1]):
        words[:, word] += carry
        carry &= words[:, word] == 0
    return words
