"""Conversions of pydantic's lax mode that would silently change a value or its meaning: such values are refused."""

# ruff: noqa: ANN401, a cell of a source row may be anything

import math
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Context, Decimal, InvalidOperation
from enum import Enum
from typing import Any

from pydantic_core import PydanticSerializationError

from rowledger.contract.dynamic import Unreadable
from rowledger.contract.kinds import BEYOND_INTEGERS, EXACT_INTEGER_MAX, SCALARS, Kind
from rowledger.contract.rules import FieldRules
from rowledger.contract.written_zones import BEYOND_PYTHON

__all__ = ["conversion_made", "converted", "silent_conversion"]

_NUMBER = re.compile(r"\s*[-+]?(?:[0-9_]+(?:\.[0-9_]*)?|\.[0-9_]+)(e[-+]?[0-9]+)?\s*", re.IGNORECASE)
_LOST_FRACTION = re.compile(r"\.[0-9]{6}[0-9]*[1-9]")
_CALENDAR_UNITS = re.compile(r"P[^T]*[YM]")  # in an ISO 8601 duration
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt _].*(?:[Zz]|[-+\u2212][0-9]{2}:?(?:[0-9]{2})?)\s*")
_WHOLE_NUMBER = re.compile(r"\s*[-+]?[0-9_]+\s*")
_ALL_DIGITS = Context(prec=2_000)  # a double has 1,075 at most
_BEYOND_DOUBLE = "is beyond what double precision holds"
_CALENDAR = {Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ}
_TEMPORAL = {*_CALENDAR, Kind.TIME, Kind.INTERVAL}

_KIND_OF = {
    python_type: kind
    for python_type, (kind, _) in SCALARS.items()
    if kind in {Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.DECIMAL, *_TEMPORAL}
}


def conversion_made(rules: FieldRules, value: Any, valid: Any) -> str | None:
    """A silent conversion that only pydantic's result shows: within a document, or to a member of a union."""
    if rules.kind is Kind.JSON:
        return _conversion_inside(rules, value, valid)
    is_union = bool(rules.alternatives) and not rules.is_taken_charge_of
    return _loss_as_double(value) if is_union and type(valid) is float and isinstance(value, str | Decimal) else None


def _conversion_inside(rules: FieldRules, value: Any, valid: Any) -> str | None:
    if rules.is_taken_charge_of or rules.members is not None:
        return None
    try:
        return converted(value, rules.adapter.dump_python(valid, warnings=False))
    except (PydanticSerializationError, ValueError):
        return None  # it cannot be written either, which `fit_value` finds next


def converted(value: Any, made: Any) -> str | None:
    """The first silent conversion, at any depth, between a source's value and pydantic's result."""
    if isinstance(made, Enum):
        made = made.value
    match value, made:
        case None, _:
            return None
        case dict(), dict():
            if len(made) < len(value) and not all(
                isinstance(key, str) for key in made
            ):  # a model, whose keys are all texts, drops unknown ones
                return "has keys that are the same once they are converted"
            by_name = {str(key): item for key, item in made.items()}  # JSON objects hold integer and date keys as texts
            inside: Iterator[tuple[Any, Any]] = (
                (item, by_name[str(key)]) for key, item in value.items() if str(key) in by_name
            )
        case list(), list() | tuple() if len(value) == len(made):
            inside = zip(value, made, strict=True)
        case _:
            kind = _KIND_OF.get(type(made))
            return None if kind is None else _conversion(kind, value)
    return next(filter(None, (converted(*pair) for pair in inside)), None)


def silent_conversion(rules: FieldRules, value: Any) -> str | None:
    """Why pydantic's lax mode would silently change the value or its meaning; None if it would not."""
    if isinstance(value, Unreadable):
        return value.reason
    if rules.is_taken_charge_of or value is None:
        return None
    if rules.alternatives:
        reasons = [_conversion(kind, value) for kind in rules.alternatives]
        return None if None in reasons else reasons[0]
    if rules.element is not None and isinstance(value, list):
        return next(filter(None, (silent_conversion(rules.element, item) for item in value)), None)
    if rules.members is not None and isinstance(value, dict):
        inside = ((member, value.get(member.sources[0])) for member in rules.members)
        return next(filter(None, (silent_conversion(member, item) for member, item in inside)), None)
    return _conversion(rules.kind, value)


def _conversion(kind: Kind, value: Any) -> str | None:  # noqa: C901, PLR0911, PLR0912, one line per conversion
    if isinstance(value, bytes) and (kind in _TEMPORAL or kind is Kind.FLOAT):
        value = value.decode(errors="replace")  # pydantic reads bytes as text
    match value:
        case _ if kind in {Kind.ANY, Kind.JSON, Kind.LIST}:
            return None
        case bool() if kind is not Kind.BOOL:
            return f"a boolean is not taken for a {kind}"
        case Decimal() if kind is Kind.BOOL and value not in (0, 1):
            return "a decimal other than 0 and 1 is not taken for a boolean"  # pydantic converts it to a double first
        case int() if kind is Kind.FLOAT and abs(value) > EXACT_INTEGER_MAX:
            return BEYOND_INTEGERS
        case str() | Decimal() if kind is Kind.FLOAT:
            return _loss_as_double(value)
        case int() | float() | Decimal() if kind in _TEMPORAL:
            return f"a number is not taken for a {kind}"
        case str() if kind in _TEMPORAL and _NUMBER.fullmatch(value):
            return f"a bare number is not taken for a {kind}"
        case datetime(tzinfo=zone) if kind is Kind.DATE and zone is not None:
            return "an instant is not taken for a date, which would lose its zone"
        case str() if kind in _CALENDAR and BEYOND_PYTHON.fullmatch(value):
            return f"infinity, or a year before 1 or after 9999, which no {kind} has here"
        case str() if kind is Kind.DATE and _INSTANT.search(value):
            return "an instant is not taken for a date, which would lose its zone"
        case str() if kind is Kind.INTERVAL and _CALENDAR_UNITS.search(value):
            return "a year or a month has no fixed length, which a duration needs"
        case str() if kind in _TEMPORAL and _LOST_FRACTION.search(value):
            return f"has digits below the microsecond, which a {kind} would lose"
        case _:
            return None


def _loss_as_double(value: str | Decimal) -> str | None:
    """What a decimal number, or its text, loses in double precision; None if its digits identify a double.

    They do if they are the shortest digits of a double, or, up to 2^53, its exact value rounded to any length, as programs
    print it.
    """
    if _is_beyond_double(value):
        return _BEYOND_DOUBLE
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None  # not a number in Python's notation: pydantic decides
    if not number.is_finite():
        return None
    if isinstance(value, str) and abs(number) > EXACT_INTEGER_MAX and _WHOLE_NUMBER.fullmatch(value):
        return BEYOND_INTEGERS
    double = float(number)
    if Decimal(repr(double)) == number:
        return None
    try:
        is_of_a_double = abs(number) <= EXACT_INTEGER_MAX and _ALL_DIGITS.quantize(Decimal(double), number) == number
    except InvalidOperation:
        is_of_a_double = False
    return None if is_of_a_double else "a decimal with more digits than double precision holds"


def _is_beyond_double(value: Any) -> bool:
    """Whether a finite number, or its text, overflows to infinity or underflows to zero in double precision."""
    text = str(value)
    try:
        double = float(text)
    except ValueError:
        return False
    mantissa = re.split("[eE]", text, maxsplit=1)[0]
    if math.isinf(double):
        return any(letter.isdigit() for letter in mantissa)
    return double == 0 and any(letter.isdigit() and letter != "0" for letter in mantissa)
