"""JSON's numbers as columns, from their texts: integers, decimals with all their digits, doubles that lose none."""

from decimal import Decimal

import polars as pl

from rowledger.sources.marked_columns import decimal_texts
from rowledger.spec import DECIMAL_DIGITS_MAX

__all__ = ["doubles", "exact_numbers", "have_points", "integers"]

_DOUBLE_DIGITS = 15
"""Decimal digits that survive a conversion to a double and back."""
_SURELY_FITS = DECIMAL_DIGITS_MAX // 2
"""Bytes of decimals that fit into one type, even if one value has all its digits before the point and another one behind it."""
_SAMPLE_ROWS = 64


def integers(texts: pl.Series) -> pl.Series | None:
    """The integers of 64 bits that the texts are; None if one of them is something else."""
    for part in (texts.head(_SAMPLE_ROWS), texts):
        made = part.cast(pl.Int64, strict=False)
        if made.null_count() > part.null_count():
            return None
    return made


def have_points(texts: pl.Series) -> bool:
    """Whether some of the numbers have a fraction that is written out."""
    return any("." in text for text in _sample(texts)) or bool(texts.str.contains(".", literal=True).any())


def exact_numbers(texts: pl.Series, *, keeps_scales: bool) -> pl.Series | None:
    """Numbers that are written out, some of them with a fraction, with all their digits; None if they are too long."""
    lengths = texts.str.len_bytes()
    longest: int = lengths.max()  # type: ignore[assignment]
    if longest > _DOUBLE_DIGITS and not texts.filter(lengths > _DOUBLE_DIGITS).str.contains(".", literal=True).all():
        return None  # perhaps an integer that a double does not hold, which is not of one kind with fractions
    if longest > _SURELY_FITS:
        points = texts.str.find(".", literal=True)
        scales = (lengths - points - 1).max()
        if points.fill_null(lengths).max() + scales > DECIMAL_DIGITS_MAX:  # type: ignore[operator]
            return None
    scale = None if keeps_scales else _common_scale(texts)
    return decimal_texts(texts) if scale is None else texts.cast(pl.Decimal(DECIMAL_DIGITS_MAX, scale))


def _common_scale(texts: pl.Series) -> int | None:
    """The number of digits that all have behind the point; None if they differ, or one has no point."""
    if len({len(text.partition(".")[2]) for text in _sample(texts)}) > 1:
        return None
    scales = texts.str.len_bytes() - texts.str.find(".", literal=True) - 1
    if scales.null_count() > texts.null_count() or scales.min() != scales.max():
        return None
    return int(scales.max())  # type: ignore[arg-type]


def doubles(texts: pl.Series) -> pl.Series | None:
    """Numbers, some of them with a fraction, as doubles; None if one of them would lose digits."""
    if (is_odd_zero := texts == "-0").any():  # an integer, which has no sign
        texts = texts.set(is_odd_zero, "0")
    made = texts.cast(pl.Float64, strict=False)
    is_long = texts.str.len_bytes() > _DOUBLE_DIGITS
    if not texts.filter(is_long).str.contains("[.eE]").all():
        return None
    if made.is_infinite().any() or made.null_count() > texts.null_count():
        return None
    is_doubtful = (is_long | texts.str.contains("[eE]")) & (made.cast(pl.String) != texts)
    for text, double in zip(texts.filter(is_doubtful), made.filter(is_doubtful), strict=True):
        if Decimal(repr(double)) != Decimal(text):
            return None
    return made


def _sample(texts: pl.Series) -> list[str]:
    return texts.head(_SAMPLE_ROWS).drop_nulls().to_list()
