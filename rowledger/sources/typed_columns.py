"""Columns of text in a type, where each text has a plain form of it; the contract reads all others."""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from rowledger.spec import DECIMAL_DIGITS_MAX

__all__ = ["typed_column"]

_DOUBLE_CHARACTERS_MAX = 15
"""Up to so many digits, a number and its nearest double determine each other."""
_INT64_CHARACTERS_MAX = 18
"""Whole numbers of so many characters fit into 64 bits."""
_DATE_CHARACTERS = len("2024-12-31")
_TIMESTAMP_CHARACTERS = len("2024-12-31 23:59:59")


def typed_column(texts: "pa.ChunkedArray[Any]", dtype: pl.DataType) -> Any | None:  # noqa: ANN401, an Arrow array of any type
    """The column in that type if all its texts have a plain form, otherwise None.

    A text has a plain form if all who read it as a value of the type read the same one. So there are no blanks and no
    exponents, no number has more digits than the type, and dates are in ISO's notation. The type is Boolean, Int64, Float64,
    Decimal, Date or Datetime in microseconds.
    """
    array: Any = texts.chunk(0) if texts.num_chunks == 1 else texts.combine_chunks()
    values = len(array) - array.null_count
    if not values:
        return None
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    sizes = np.diff(offsets)
    content = np.frombuffer(array.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    if np.count_nonzero(sizes) != values or not _is_plain(dtype, sizes, content):
        return None
    if isinstance(dtype, pl.Decimal) and values == len(array):
        column = _decimals_of_one_form(dtype, offsets, sizes, content)
        if column is not None:
            return column
    try:
        column = array.cast(_arrow_type(dtype))
    except pa.ArrowException:
        return None
    if isinstance(dtype, pl.Decimal):
        # pyarrow takes a whole number of as many digits as the type has, which are too many together with its decimals.
        least, greatest = pc.min_max(column).as_py().values()  # type: ignore[attr-defined]
        return column if max(-least, greatest) < 10 ** (dtype.precision - dtype.scale) else None
    return column


def _decimals_of_one_form(
    dtype: pl.Decimal, offsets: npt.NDArray[np.int32], sizes: npt.NDArray[np.int32], content: npt.NDArray[np.uint8]
) -> Any | None:  # noqa: ANN401, an Arrow array
    """The column if all texts have as many decimals as the type, and few digits; otherwise None.

    Without their points such texts are whole numbers, which pyarrow reads in a fraction of the time.
    """
    if sizes.min() <= dtype.scale or sizes.max() > _INT64_CHARACTERS_MAX:
        return None
    starts, digits = offsets - offsets[0], content.tobytes()
    signs = digits.count(b"-")
    if signs and np.count_nonzero(content[starts[:-1]] == ord("-")) != signs:
        return None  # with a sign behind its point, a text is no number
    if dtype.scale:
        if (content[starts[1:] - (dtype.scale + 1)] != ord(".")).any():
            return None
        digits = digits.translate(None, b".")
        starts = starts - np.arange(len(starts), dtype=np.int32)
    if len(digits) != starts[-1]:
        return None
    return _widened(dtype, pa.Array.from_buffers(pa.string(), len(sizes), [None, *map(pa.py_buffer, (starts, digits))]))


def _widened(dtype: pl.Decimal, texts: Any) -> Any | None:  # noqa: ANN401, Arrow arrays
    """Decimals of that type from the texts of all their digits, without nulls; None if one is no number, or too large."""
    try:
        whole: Any = texts.cast(pa.int64())
    except pa.ArrowException:
        return None
    numbers = np.frombuffer(whole.buffers()[1], np.int64)[: len(texts)]  # np.asarray imports pandas where it can
    if max(-int(numbers.min()), int(numbers.max())) >= 10**dtype.precision:
        return None
    halves = np.empty((len(numbers), 2), np.int64)
    halves[:, 0] = numbers
    np.right_shift(numbers, 63, out=halves[:, 1])
    return pa.Array.from_buffers(_arrow_type(dtype), len(numbers), [None, pa.py_buffer(halves.data)])


def _is_plain(dtype: pl.DataType, sizes: npt.NDArray[np.int32], content: npt.NDArray[np.uint8]) -> bool:
    """Whether sizes and characters are those of plain forms, so that pyarrow, which reads more, reads nothing else here."""
    match dtype:
        case pl.Boolean():
            return True
        case pl.Date():
            return _has_one_size(sizes, _DATE_CHARACTERS) and _is_between(content, "-9")
        case pl.Datetime():
            return _has_one_size(sizes, _TIMESTAMP_CHARACTERS) and _is_between(content, " T")
        case pl.Float64():
            return bool(sizes.max() <= _DOUBLE_CHARACTERS_MAX) and _is_between(content, "-9")
        case pl.Decimal():
            # pyarrow does not see it when 128 bits are too few for the digits.
            return bool(sizes.max() <= DECIMAL_DIGITS_MAX - dtype.scale) and _is_between(content, "-9")
        case _:
            return _is_between(content, "-9")


def _has_one_size(sizes: npt.NDArray[np.int32], size: int) -> bool:
    return bool(((sizes == size) | (sizes == 0)).all())


def _is_between(content: npt.NDArray[np.uint8], bounds: str) -> bool:
    """Whether no character is outside of these two; from - to 9, there are only . and / beside the digits."""
    return bool(content.min() >= ord(bounds[0]) and content.max() <= ord(bounds[1]))


def _arrow_type(dtype: pl.DataType) -> pa.DataType:
    return pa.decimal128(dtype.precision, dtype.scale) if isinstance(dtype, pl.Decimal) else _ARROW_TYPES[dtype]


_ARROW_TYPES: dict[pl.DataType, pa.DataType] = {
    pl.Boolean(): pa.bool_(), pl.Int64(): pa.int64(), pl.Float64(): pa.float64(), pl.Date(): pa.date32(),
    pl.Datetime("us"): pa.timestamp("us"),
}  # fmt: skip
