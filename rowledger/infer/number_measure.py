"""How large the numbers of a column are, and how many digits they are written with."""

from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation

import polars as pl

__all__ = ["NumberMeasure"]

_DAYS = (19_000_101, 20_991_231)
_EXACT_IN_A_DOUBLE = 2**53
_DOUBLE_DIGITS = 15  # decimal digits that survive the conversion into a double and back
_ALL_DIGITS = Context(prec=2_000)
_PARTS = r"^[+-]?0*([0-9]*)(?:\.([0-9]*))?"


@dataclass
class NumberMeasure:
    """The numbers seen so far.

    `days` counts those that could be days, as 20241231, `written_zeros` fractions that end in a zero, and `fractions` the
    numbers with a point.
    """

    numbers: int = 0
    days: int = 0
    fractions: int = 0
    greatest: int = 0
    """The greatest absolute value of the integers that a bigint holds."""
    is_beyond_bigint: bool = False
    whole_digits: int = 0
    """Digits before the point, at most."""
    places_min: int | None = None
    places_max: int = 0
    written_zeros: int = 0
    is_lossy_as_double: bool = False
    """Whether a number has digits that a double does not keep."""

    def add(self, values: pl.Series) -> None:
        """Take plain numbers: 12, -0.50, +7."""
        if not len(values):
            return
        self.numbers += len(values)
        has_point = values.str.contains(".", literal=True)
        if has_point.any():
            self._add_fractions(values.filter(has_point))
            values = values.filter(~has_point)
        if len(values):
            self._add_integers(values)

    def _add_integers(self, values: pl.Series) -> None:
        numbers = values.str.strip_prefix("+").cast(pl.Int64, strict=False)
        low, high = int(numbers.min() or 0), int(numbers.max() or 0)  # type: ignore[arg-type]
        self.greatest = max(self.greatest, -low, high)
        if _DAYS[0] <= low <= high <= _DAYS[1]:
            self.days += values.str.to_date("%Y%m%d", strict=False).count()
        digits = len(str(self.greatest))
        if numbers.null_count():
            self.is_beyond_bigint = True
            digits = int(values.str.strip_chars_start("+-").str.len_bytes().max() or 0)  # type: ignore[arg-type]
        self.whole_digits = max(self.whole_digits, digits)
        self.is_lossy_as_double |= self.is_beyond_bigint or self.greatest > _EXACT_IN_A_DOUBLE

    def _add_fractions(self, values: pl.Series) -> None:
        parts = values.str.extract_groups(_PARTS).struct.unnest()
        whole, places = (parts[name].fill_null("").str.len_bytes() for name in parts.columns)
        least, greatest = int(places.min() or 0), int(places.max() or 0)  # type: ignore[arg-type]
        self.fractions += len(values)
        self.places_min = least if self.places_min is None else min(self.places_min, least)
        self.places_max = max(self.places_max, greatest)
        self.whole_digits = max(self.whole_digits, int(whole.max() or 0))  # type: ignore[arg-type]
        self.written_zeros += int(values.str.ends_with("0").sum())
        if not self.is_lossy_as_double:
            is_long = whole + places > _DOUBLE_DIGITS
            self.is_lossy_as_double = any(map(_loses_digits, values.filter(is_long).unique()))

    def with_others(self, other: "NumberMeasure") -> "NumberMeasure":
        """The measure of these numbers and the others."""
        both = [places for places in (self.places_min, other.places_min) if places is not None]
        return NumberMeasure(
            numbers=self.numbers + other.numbers,
            days=self.days + other.days,
            fractions=self.fractions + other.fractions,
            greatest=max(self.greatest, other.greatest),
            is_beyond_bigint=self.is_beyond_bigint or other.is_beyond_bigint,
            whole_digits=max(self.whole_digits, other.whole_digits),
            places_min=min(both, default=None),
            places_max=max(self.places_max, other.places_max),
            written_zeros=self.written_zeros + other.written_zeros,
            is_lossy_as_double=self.is_lossy_as_double or other.is_lossy_as_double,
        )


def _loses_digits(text: str) -> bool:
    """Whether the digits are neither the shortest ones of a double nor its exact value rounded."""
    number = Decimal(text)
    double = float(text)
    if Decimal(repr(double)) == number:
        return False
    try:
        return _ALL_DIGITS.quantize(Decimal(double), number) != number
    except InvalidOperation:
        return True
