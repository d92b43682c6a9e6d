"""How a file writes numbers and dates, decided from the profiles of all its columns."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rowledger.infer.date_formats import has_time, month_is_first, swapped
from rowledger.infer.shapes import CONVERTIBLE_DATES, Shape
from rowledger.infer.text_profile import TextProfile

__all__ = ["Notation", "notation_of"]

_PLAIN = {Shape.INTEGER, Shape.PLUS_INTEGER}
_COMMA = {Shape.DECIMAL_COMMA, Shape.AMBIGUOUS_COMMA}
_GROUPED = {Shape.GROUPED, Shape.AMBIGUOUS_COMMA}
_POINT = {Shape.DECIMAL, Shape.AMBIGUOUS_POINT}
_DOT_GROUPED = {Shape.DOT_GROUPED, Shape.AMBIGUOUS_POINT}
_NUMBERS = {
    *_PLAIN, *_COMMA, *_GROUPED, *_POINT, *_DOT_GROUPED, Shape.EXPONENT, Shape.BLANK_GROUPED, Shape.APOSTROPHE_GROUPED,
}  # fmt: skip
_AMBIGUOUS = (Shape.AMBIGUOUS_COMMA, Shape.AMBIGUOUS_POINT)
_DATES = {*CONVERTIBLE_DATES, Shape.DATE, Shape.TIMESTAMP}
_SIGNS = {",": "commas", ".": "points", " ": "blanks", "'": "apostrophes"}
_PADDED = {Shape.DATE: "%Y-%m-%d", Shape.TIMESTAMP: "%Y-%m-%d %H:%M:%S"}
"""Formats that also read dates with blanks before them, as files with a blank behind each comma have them."""


@dataclass(frozen=True, slots=True)
class Notation:
    """The sign of decimals and of thousands, and the formats of dates besides ISO's.

    `is_guessed` says that no number of the file tells whether a comma or a point is for decimals, or that they disagree.
    """

    decimal: str = "."
    thousands: str | None = None
    date_formats: tuple[str, ...] = ()
    is_guessed: bool = False

    @property
    def number_shapes(self) -> frozenset[Shape]:
        """The shapes of numbers in this notation."""
        shapes = set(_PLAIN)
        if self.decimal == ",":
            shapes |= _COMMA
        else:
            shapes |= {*_POINT, Shape.EXPONENT}
        match self.thousands:
            case ",":
                shapes |= _GROUPED
            case ".":
                shapes |= _DOT_GROUPED
            case " ":
                shapes |= {Shape.BLANK_GROUPED}
            case "'":
                shapes |= {Shape.APOSTROPHE_GROUPED}
        return frozenset(shapes)

    @property
    def signs(self) -> str:
        """The signs of numbers in words."""
        decimal = "a decimal comma" if self.decimal == "," else "a decimal point"
        return decimal if self.thousands is None else f"{decimal} and {_SIGNS[self.thousands]} between thousands"

    def is_guess_for(self, profile: TextProfile) -> bool:
        """Whether numbers of a column could be others in the other notation."""
        return self.is_guessed and any(profile.shapes[shape] for shape in _AMBIGUOUS)

    def settings(self) -> dict[str, Any]:
        """The settings of CsvFiles."""
        return {"decimal": self.decimal, "thousands": self.thousands, "date_formats": self.date_formats}


def notation_of(profiles: Iterable[TextProfile], *, delimiter: str, misfits_share: float) -> Notation:
    """The notation by which most columns are numbers and dates. `delimiter` is what stands between the columns."""
    given = [profile for profile in profiles if not profile.is_surely_text and profile.shapes.total()]
    numbers = [profile for profile in given if _share(profile, _NUMBERS) >= 1 - misfits_share]
    decimal, thousands, is_guessed = _number_format(numbers, delimiter)
    return Notation(decimal, thousands, _date_formats(given, misfits_share), is_guessed)


def _share(profile: TextProfile, shapes: set[Shape]) -> float:
    return sum(profile.shapes[shape] for shape in shapes) / profile.shapes.total()


def _number_format(profiles: list[TextProfile], delimiter: str) -> tuple[str, str | None, bool]:
    """The sign of decimals, that of thousands, and whether they are a guess."""

    def columns_with(shape: Shape) -> int:
        return sum(1 for profile in profiles if profile.shapes[shape])

    has_blanks = columns_with(Shape.BLANK_GROUPED) > 0
    has_apostrophes = columns_with(Shape.APOSTROPHE_GROUPED) > 0
    commas = columns_with(Shape.DECIMAL_COMMA) + sum(
        1
        for profile in profiles
        if (profile.shapes[Shape.DOT_GROUPED] and not profile.shapes[Shape.DECIMAL])
        or profile.measure({Shape.BLANK_GROUPED}, ",").fractions
    )
    points = columns_with(Shape.DECIMAL) + columns_with(Shape.GROUPED) + columns_with(Shape.EXPONENT)
    is_guessed = bool(commas) == bool(points)
    # Files are delimited by semicolons where the comma is for decimals. A point alone is for decimals in them as well as not.
    is_comma_likelier = delimiter == ";" and not commas and not points and columns_with(Shape.AMBIGUOUS_COMMA)
    if commas > points or is_comma_likelier:
        has_points = columns_with(Shape.DOT_GROUPED) or columns_with(Shape.AMBIGUOUS_POINT)
        return ",", "." if has_points else " " if has_blanks else None, is_guessed
    if columns_with(Shape.GROUPED) or columns_with(Shape.AMBIGUOUS_COMMA):
        return ".", ",", is_guessed
    return ".", " " if has_blanks else "'" if has_apostrophes else None, is_guessed


def _date_formats(profiles: list[TextProfile], misfits_share: float) -> tuple[str, ...]:
    """One format for each shape, which all columns share. Where day and month could be either, other columns decide."""
    found: dict[str, None] = {}
    undecided: list[tuple[TextProfile, Shape]] = []
    for profile in profiles:
        for shape, form in _PADDED.items():
            if profile.padded and _share(profile, {shape}) >= 1 - misfits_share:
                found[form] = None
        if _share(profile, _DATES) < 1 - misfits_share:
            continue
        for shape in CONVERTIBLE_DATES:
            if _share(profile, {shape}) <= misfits_share:
                continue
            best, count = profile.dates.best(shape, is_month_first=None)
            if best is None:
                undecided.append((profile, shape))
            elif count >= (1 - misfits_share) * profile.shapes[shape] and swapped(best) not in found:
                found[best] = None
    orders = {month_is_first(form) for form in found if swapped(form) is not None}
    if len(orders) == 1:
        order = orders.pop()
        decided = (profile.dates.best(shape, is_month_first=order)[0] for profile, shape in undecided)
        found |= dict.fromkeys(form for form in decided if form is not None and swapped(form) not in found)
    return tuple(sorted(found, key=has_time))
