"""What a column of texts holds: how many values have which shape, and how large its numbers are. Filled chunk by chunk."""

from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import reduce

import polars as pl

from rowledger.infer.date_formats import DateFormats
from rowledger.infer.number_measure import NumberMeasure
from rowledger.infer.shapes import BOOLEANS, CONVERTIBLE_DATES, DECIMAL_SIGNS, NULL_MARKERS, PATTERNS, Shape

__all__ = ["TextProfile"]

_SURELY_TEXT_ROWS = 1_000
_SURELY_TEXT_SHARE = 0.1
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
    numbers: dict[tuple[Shape, str], NumberMeasure] = field(default_factory=dict)
    """The numbers by their shape, and by the sign that is taken for that of decimals; the other signs are between thousands."""
    dates: DateFormats = field(default_factory=DateFormats)
    words: set[str] = field(default_factory=set)
    """The distinct Booleans, in small letters."""
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
            for marker, count in rest.filter(is_marker).rename("").value_counts().iter_rows():
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

    def measure(self, shapes: AbstractSet[Shape], decimal: str) -> NumberMeasure:
        """The numbers of these shapes, with that sign for decimals."""
        parts = [self.numbers.get((shape, decimal)) or self.numbers.get((shape, "")) for shape in shapes]
        return reduce(NumberMeasure.with_others, filter(None, parts), NumberMeasure())

    def _measure(self, shape: Shape, values: pl.Series) -> None:
        for decimal in DECIMAL_SIGNS.get(shape, ()):
            plain = values
            if decimal:
                plain = values.str.replace_all(rf"[^0-9{decimal}+-]", "").str.replace(decimal, ".", literal=True)
            self.numbers.setdefault((shape, decimal), NumberMeasure()).add(plain)
        if shape in BOOLEANS:
            self.words.update(values.str.to_lowercase().unique())
        elif shape in CONVERTIBLE_DATES:
            self.dates.add(shape, values)
