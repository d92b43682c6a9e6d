"""What a column of texts holds: how many values have which shape, and how large its numbers are. Filled chunk by chunk."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Context, Decimal, InvalidOperation

import polars as pl

from rowledger.infer.shapes import BOOLEANS, CONVERTIBLE_DATES, NULL_MARKERS, PATTERNS, Shape

__all__ = ["TextProfile"]

_SURELY_TEXT_ROWS = 1_000
_SURELY_TEXT_SHARE = 0.1
_DOUBLE_DIGITS = 15  # decimal digits that survive the conversion into a double and back
_ALL_DIGITS = Context(prec=2_000)
_NUMBER_PARTS = r"^[+-]?0*([0-9]*)(?:\.([0-9]*))?"
_CODE = r"^[A-Za-z]{0,4}[-/ ]?[0-9]+(?:[-/. ]?[A-Za-z0-9]+)*$"
"""A number with letters or separators in it, such as a house number, a part number or a postcode."""


@dataclass
class TextProfile:
    """The values of one column, blanks around them not counted.

    `markers` counts the null markers, `padded` the values with blanks around them that have a shape, `codes` the texts that
    look like the number of a thing. Once it is sure that a column is text, only its nulls are counted.
    """

    values: int = 0
    nulls: int = 0
    shapes: Counter[Shape] = field(default_factory=Counter)
    markers: Counter[str] = field(default_factory=Counter)
    padded: int = 0
    codes: int = 0
    least: int = 0
    greatest: int = 0
    whole_digits: int = 0
    """Digits before the point, at most."""
    places_min: int | None = None
    places_max: int = 0
    written_zeros: int = 0
    """Decimals that end in a zero."""
    parts_max: list[int] = field(default_factory=lambda: [0, 0])
    """The greatest first and second part of the dates whose year is the last part."""
    words: set[str] = field(default_factory=set)
    """The distinct Booleans, in small letters."""
    beyond_bigint: bool = False
    lossy_as_double: bool = False
    """Whether a decimal has digits that a double does not keep."""
    is_surely_text: bool = False

    def add(self, column: pl.Series) -> None:
        """Count the values of one chunk."""
        values = column.drop_nulls()
        self.nulls += len(column) - len(values)
        self.values += len(values)
        if self.is_surely_text:
            return
        rest = self._take_shapes(values)
        if not len(rest):
            return
        stripped = rest.str.strip_chars()
        is_marker = stripped.is_in(NULL_MARKERS)
        if is_marker.any():
            for marker, count in stripped.filter(is_marker).value_counts().iter_rows():
                self.markers[marker] += count
            rest, stripped = rest.filter(~is_marker), stripped.filter(~is_marker)
        padded = stripped.filter(stripped.str.len_bytes() != rest.str.len_bytes())
        if len(padded):
            unread = self._take_shapes(padded)
            self.padded += len(padded) - len(unread)
            texts = pl.concat([unread, stripped.filter(stripped.str.len_bytes() == rest.str.len_bytes())])
        else:
            texts = stripped
        self.shapes[Shape.TEXT] += len(texts)
        self.codes += int(texts.str.contains(_CODE).sum())
        self._settle()

    def _settle(self) -> None:
        known = self.values - sum(self.markers.values())
        texts = self.shapes[Shape.TEXT]
        self.is_surely_text = known > _SURELY_TEXT_ROWS and texts > _SURELY_TEXT_SHARE * known

    def _take_shapes(self, values: pl.Series) -> pl.Series:
        """Count the values that have a shape, and return the others."""
        # What was frequent so far comes first.
        for shape in sorted(PATTERNS, key=lambda shape: -self.shapes[shape]):
            if not len(values):
                break
            matches = values.str.contains(PATTERNS[shape])
            count = int(matches.sum())
            if not count:
                continue
            self.shapes[shape] += count
            self._measure(shape, values if count == len(values) else values.filter(matches))
            values = values.clear() if count == len(values) else values.filter(~matches)
        return values

    def _measure(self, shape: Shape, values: pl.Series) -> None:
        match shape:
            case Shape.INTEGER | Shape.PLUS_INTEGER:
                numbers = values.str.strip_prefix("+").cast(pl.Int64, strict=False)
                self.least = min(self.least, int(numbers.min() or 0))  # type: ignore[arg-type]
                self.greatest = max(self.greatest, int(numbers.max() or 0))  # type: ignore[arg-type]
                digits = int(values.str.len_bytes().max() or 0)  # type: ignore[arg-type]
                if numbers.null_count():
                    self.beyond_bigint = True
                    digits = int(values.str.strip_chars_start("+-").str.len_bytes().max() or 0)  # type: ignore[arg-type]
                self.whole_digits = max(self.whole_digits, digits)
            case Shape.DECIMAL:
                self._measure_decimals(values)
            case _ if shape in BOOLEANS:
                self.words.update(values.str.to_lowercase().unique())
            case _ if shape in CONVERTIBLE_DATES:
                parts = values.str.extract_groups(r"^([0-9]{1,2})[/.-]([0-9]{1,2})[/.-]").struct.unnest()
                for number, name in enumerate(parts.columns):
                    greatest = parts[name].cast(pl.Int64, strict=False).max()
                    self.parts_max[number] = max(self.parts_max[number], int(greatest or 0))  # type: ignore[arg-type]

    def _measure_decimals(self, values: pl.Series) -> None:
        parts = values.str.extract_groups(_NUMBER_PARTS).struct.unnest()
        whole, places = (parts[name].fill_null("").str.len_bytes() for name in parts.columns)
        least, greatest = int(places.min() or 0), int(places.max() or 0)  # type: ignore[arg-type]
        self.places_min = least if self.places_min is None else min(self.places_min, least)
        self.places_max = max(self.places_max, greatest)
        self.whole_digits = max(self.whole_digits, int(whole.max() or 0))  # type: ignore[arg-type]
        self.written_zeros += int(values.str.ends_with("0").sum())
        if not self.lossy_as_double:
            is_long = whole + places > _DOUBLE_DIGITS
            self.lossy_as_double = any(map(_loses_digits, values.filter(is_long).unique())) if is_long.any() else False


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
