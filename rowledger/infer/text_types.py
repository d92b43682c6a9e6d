"""The type of a column of texts, decided from its profile."""

from collections.abc import Callable
from dataclasses import dataclass

from rowledger.infer import field_type as of
from rowledger.infer.field_type import FieldType
from rowledger.infer.shapes import BOOLEANS, Shape
from rowledger.infer.text_profile import TextProfile

__all__ = ["Candidate", "text_candidate"]

_INTEGER_ROOM = 10**9  # an integer column keeps room for twice as much
_EXACT_IN_A_DOUBLE = 2**53
_DOUBLE_DIGITS = 15  # decimal digits that survive the conversion into a double and back
_FIXED_PLACES_MAX = 6
_PLUS_DIGITS_MAX = 6  # a longer number with a plus is a telephone number
_NUMBERS = {Shape.INTEGER, Shape.PLUS_INTEGER, Shape.DECIMAL, Shape.EXPONENT}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A type for a column. `misfits` is the number of values that would be refused for it; `shapes` are those that fit."""

    type: FieldType
    misfits: int = 0
    shapes: frozenset[Shape] = frozenset()


def text_candidate(profile: TextProfile, *, misfits_max: int, numbers: bool = True) -> Candidate:
    """The type that all values fit, else one that all but `misfits_max` odd ones fit, else text.

    With `numbers=False`, texts of digits stay text: the source has numbers of its own.
    """
    known = sum(profile.shapes.values())
    text = Candidate(of.TEXT)
    if profile.is_surely_text or not known or profile.shapes[Shape.ZERO_LED]:
        return text
    best = text
    for family, type_of in _FAMILIES:
        if not numbers and family & _NUMBERS:
            continue
        fitting = sum(profile.shapes[shape] for shape in family)
        misfits = known - fitting
        if not fitting or misfits > misfits_max or (best is not text and misfits >= best.misfits):
            continue
        found = type_of(profile)
        if found is not None and not (misfits and _may_be_usual(family, profile)):
            best = Candidate(found, misfits, family)
    return best


def _may_be_usual(family: frozenset[Shape], profile: TextProfile) -> bool:
    """Whether the values that do not fit are as good as the others: 12a among house numbers, U beside Y and N."""
    return (bool(family & _NUMBERS) and profile.codes > 0) or bool(family & set(BOOLEANS))


def _boolean(profile: TextProfile) -> FieldType | None:
    """Two words that are opposites. Of a column with Y alone, nobody knows that N is its opposite."""
    return of.BOOLEAN if profile.shapes[Shape.TRUE_FALSE] or len(profile.words) > 1 else None


def _integer(profile: TextProfile) -> FieldType | None:
    if profile.shapes[Shape.PLUS_INTEGER] and profile.whole_digits > _PLUS_DIGITS_MAX:
        return None
    if profile.beyond_bigint:
        return of.numeric(profile.whole_digits, 0)
    return of.INTEGER if max(-profile.least, profile.greatest) < _INTEGER_ROOM else of.BIGINT


def _number(profile: TextProfile) -> FieldType:
    """A numeric where decimals are written with a fixed number of places, or with more digits than a double holds."""
    places = profile.places_max
    has_exponents = bool(profile.shapes[Shape.EXPONENT])
    is_fixed = profile.places_min == places and 1 < places <= _FIXED_PLACES_MAX and profile.written_zeros > 0
    only_decimals = not profile.shapes[Shape.INTEGER] and not has_exponents
    if is_fixed and only_decimals and profile.whole_digits + places <= _DOUBLE_DIGITS:
        return of.numeric(profile.whole_digits + places, places)
    is_lossy = profile.lossy_as_double or max(-profile.least, profile.greatest) > _EXACT_IN_A_DOUBLE
    if (is_lossy or profile.beyond_bigint) and not has_exponents:
        return of.numeric(profile.whole_digits + places, places)
    return of.DOUBLE


def _always(found: FieldType) -> Callable[[TextProfile], FieldType]:
    return lambda _: found


_FAMILIES: tuple[tuple[frozenset[Shape], Callable[[TextProfile], FieldType | None]], ...] = (
    *((frozenset({shape}), _boolean) for shape in BOOLEANS),
    (frozenset({Shape.INTEGER, Shape.PLUS_INTEGER}), _integer),
    (frozenset(_NUMBERS), _number),
    (frozenset({Shape.DATE}), _always(of.DATE)),
    (frozenset({Shape.TIMESTAMP, Shape.DATE}), _always(of.TIMESTAMP)),
    (frozenset({Shape.INSTANT}), _always(of.TIMESTAMPTZ)),
    (frozenset({Shape.TIME}), _always(of.TIME)),
    (frozenset({Shape.UUID}), _always(of.UUID)),
)
"""The shapes that fit a type together, the narrower type first."""
