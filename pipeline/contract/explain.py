"""The last word on suspicious values and the reason of a refusal: one value at a time.

Only suspects come here. Reasons quote the row model's rules and never the row's values.
"""

# ruff: noqa: ANN401, a cell of a source row may be anything

import re
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from pipeline.contract.payloads import row_payloads
from pipeline.contract.rules import FieldRules, Kind
from pipeline.contract.target import as_frame_value, misfit
from pipeline.model.column import ColumnType

__all__ = ["Verdict", "judge", "row_payloads"]

_NUMBER = re.compile(r"\s*[-+]?[0-9_.]+(e[-+]?[0-9]+)?\s*", re.IGNORECASE)
_LOST_FRACTION = re.compile(r"\.[0-9]{6}[0-9]*[1-9]")
_CALENDAR_UNITS = re.compile(r"P[^T]*[YM]")  # of an ISO 8601 duration
_EXACT_INTEGER = 2**53
_TEMPORAL = {Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.TIME, Kind.INTERVAL}

# Messages of these error types come from a parser that may quote the input behind the comma.
_QUOTING_ERRORS = ("_parsing", "_type", "_unicode", "_from_datetime_parsing")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Either a value, as the target's frame type takes it, or the reason why there is none."""

    value: Any = None
    reason: str | None = None


def judge(rules: FieldRules, target: ColumnType, value: Any) -> Verdict:
    """What pydantic says about one value that is not null, less its silent conversions."""
    if (reason := _silent_conversion(rules.kind, value)) is not None:
        return Verdict(reason=reason)
    try:
        valid = rules.adapter.validate_python(value)
    except ValidationError as error:
        return Verdict(
            reason="; ".join(_message(detail) for detail in error.errors(include_url=False, include_input=False))
        )
    except (ValueError, ArithmeticError, OverflowError):
        return Verdict(reason=f"Input should be a valid {rules.kind}")
    if isinstance(valid, datetime | time) and (valid.tzinfo is not None) != (rules.kind is Kind.TIMESTAMPTZ):
        return Verdict(reason=f"Input should not have a time zone for a {rules.kind}")
    converted = as_frame_value(valid, target)
    if (reason := misfit(converted, target)) is not None:
        return Verdict(reason=reason)
    return Verdict(value=converted)


def _silent_conversion(kind: Kind, value: Any) -> str | None:  # noqa: PLR0911, one line a conversion
    """Conversions that pydantic's lax mode makes, and that would change a value or its meaning unseen."""
    match value:
        case bool() if kind is not Kind.BOOL:
            return f"a boolean is not taken for a {kind}"
        case int() if kind is Kind.FLOAT and abs(value) > _EXACT_INTEGER:
            return "an integer beyond 2^53 is not exact in double precision"
        case Decimal() if kind is Kind.FLOAT and Decimal(repr(float(value))) != value:
            return "a decimal with more digits than double precision holds"
        case int() | float() | Decimal() if kind in _TEMPORAL:
            return f"a number is not taken for a {kind}"
        case str() if kind in _TEMPORAL and _NUMBER.fullmatch(value):
            return f"a bare number is not taken for a {kind}"
        case str() if kind is Kind.INTERVAL and _CALENDAR_UNITS.search(value):
            return "a year or a month has no fixed length, which a duration needs"
        case str() if kind in _TEMPORAL and _LOST_FRACTION.search(value):
            return f"has digits below the microsecond, which a {kind} would lose"
        case _:
            return None


def _message(detail: Any) -> str:
    kind, message = str(detail["type"]), str(detail["msg"])
    if kind.endswith(_QUOTING_ERRORS):
        message = message.split(",", 1)[0]
    return f"{message} [{kind}]"
