"""The type of a column of texts, decided from its profile."""

from collections.abc import Iterator
from dataclasses import dataclass

from rowledger.infer import field_type as of
from rowledger.infer.date_formats import has_time
from rowledger.infer.field_type import FieldType
from rowledger.infer.notation import Notation
from rowledger.infer.number_measure import NumberMeasure
from rowledger.infer.shapes import BOOLEANS, Shape
from rowledger.infer.text_profile import TextProfile

__all__ = ["FIXED_PLACES_MAX", "Candidate", "text_candidate"]

_INTEGER_ROOM = 10**9  # an integer column keeps room for twice as much
_DOUBLE_DIGITS = 15  # decimal digits that survive the conversion into a double and back
FIXED_PLACES_MAX = 6
_PLUS_DIGITS_MAX = 6  # a longer number with a plus is a telephone number
_READ_SHARE = 0.99


@dataclass(frozen=True, slots=True)
class Candidate:
    """A type for a column. `misfits` is the number of values that would be refused for it."""

    type: FieldType
    misfits: int = 0


def text_candidate(profile: TextProfile, notation: Notation, *, misfits_max: int, numbers: bool = True) -> Candidate:
    """The type that all values fit, else one that all but `misfits_max` odd ones fit, else text.

    With `numbers=False`, texts of digits stay text: the source has numbers of its own.
    """
    known = profile.shapes.total()
    text = Candidate(of.TEXT)
    if profile.is_surely_text or not known or profile.shapes[Shape.ZERO_LED]:
        return text
    best = text
    for found, shapes in _families(profile, notation, numbers=numbers):
        fitting = sum(profile.shapes[shape] for shape in shapes)
        misfits = known - fitting
        if not fitting or misfits > misfits_max or (best is not text and misfits >= best.misfits):
            continue
        if not (misfits and _may_be_usual(shapes, profile)):
            best = Candidate(found, misfits)
    return best


def _may_be_usual(shapes: frozenset[Shape], profile: TextProfile) -> bool:
    """Whether the values that do not fit are as good as the others: 12a among house numbers, U beside Y and N."""
    return (Shape.INTEGER in shapes and profile.codes > 0) or bool(shapes & set(BOOLEANS))


def _families(
    profile: TextProfile, notation: Notation, *, numbers: bool
) -> Iterator[tuple[FieldType, frozenset[Shape]]]:
    """The types that the column could have, each with the shapes that fit it; the narrower type first."""
    # A column with Y alone does not say that N is its opposite.
    yield from (
        (of.BOOLEAN, frozenset({shape})) for shape in BOOLEANS if shape is Shape.TRUE_FALSE or len(profile.words) > 1
    )
    if numbers and (number := _number(profile, notation)) is not None:
        yield number, notation.number_shapes
    days, times = _written_dates(profile, notation)
    yield of.DATE, frozenset({Shape.DATE, *days})
    yield of.TIMESTAMP, frozenset({Shape.TIMESTAMP, Shape.DATE, *days, *times})
    yield of.TIMESTAMPTZ, frozenset({Shape.INSTANT})
    yield of.TIME, frozenset({Shape.TIME})
    yield of.UUID, frozenset({Shape.UUID})


def _number(profile: TextProfile, notation: Notation) -> FieldType | None:
    """A numeric where decimals are written with a fixed number of places, or with more digits than a double holds.

    Zeros at the end tell that the places are fixed: a float is printed as 1.5, not as 1.50. One place tells nothing, since a
    float is also printed as 12.0.
    """
    measure = profile.measure(notation.number_shapes, notation.decimal)
    if not measure.fractions and not profile.shapes[Shape.EXPONENT]:
        return _integer(profile, measure)
    places, digits = measure.places_max, measure.whole_digits + measure.places_max
    has_exponents = profile.shapes[Shape.EXPONENT] > 0
    is_fixed = measure.places_min == places and 1 < places <= FIXED_PLACES_MAX and measure.written_zeros > 0
    if is_fixed and measure.fractions == measure.numbers and not has_exponents and digits <= _DOUBLE_DIGITS:
        return of.numeric(digits, places)
    return of.numeric(digits, places) if measure.is_lossy_as_double and not has_exponents else of.DOUBLE


def _integer(profile: TextProfile, measure: NumberMeasure) -> FieldType | None:
    if profile.shapes[Shape.PLUS_INTEGER] and measure.whole_digits > _PLUS_DIGITS_MAX:
        return None
    if measure.is_beyond_bigint:
        return of.numeric(measure.whole_digits, 0)
    return of.INTEGER if measure.greatest < _INTEGER_ROOM else of.BIGINT


def _written_dates(profile: TextProfile, notation: Notation) -> tuple[set[Shape], set[Shape]]:
    """The shapes that the formats of the file read, as dates and as timestamps."""
    days: set[Shape] = set()
    times: set[Shape] = set()
    for shape, counts in profile.dates.read.items():
        readers = [form for form in notation.date_formats if counts[form] >= _READ_SHARE * profile.shapes[shape]]
        if any(has_time(form) for form in readers):
            times.add(shape)
        elif readers:
            days.add(shape)
    return days, times
