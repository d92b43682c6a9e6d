"""The last word on suspicious values, the reason of a refusal, and the row as it was: one value at a time.

Only suspects and refused rows come here. Reasons quote the row model's rules and never the row's values.
"""

# ruff: noqa: ANN401, a cell of a source row may be anything

import base64
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from pydantic import ValidationError

from pipeline.contract.read import blank
from pipeline.contract.rules import FieldRules, Kind
from pipeline.contract.target import as_frame_value, misfit
from pipeline.model.column import ColumnType

__all__ = ["Verdict", "judge", "row_payloads"]

_NUMBER = re.compile(r"\s*[-+]?[0-9_.]+(e[-+]?[0-9]+)?\s*", re.IGNORECASE)
_LOST_FRACTION = re.compile(r"\.[0-9]{6}[0-9]*[1-9]")
_CALENDAR_UNITS = re.compile(r"P[^T]*[YM]")  # of an ISO 8601 duration
_EXACT_INTEGER = 2**53
_CALENDAR_DAYS = 2_932_896  # to 9999-12-31, and as far back
_TICKS_A_DAY = {"d": 1, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
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


def row_payloads(rows: pl.DataFrame) -> Iterator[str]:
    """Each row as a JSON object that keeps its exact values.

    Integers and finite floats are JSON numbers (floats in their shortest form that reads back equal), decimals, dates and
    times are text (ISO 8601, with nanoseconds where the source has them), NaN and infinities are the texts NaN, Infinity and
    -Infinity, bytes are {"base64": "…"}.
    """
    exact = rows.with_columns(_temporal_text(rows[name]) for name, dtype in rows.schema.items() if dtype.is_temporal())
    for row in exact.iter_rows(named=True):
        yield json.dumps({name: _json_value(value) for name, value in row.items()}, ensure_ascii=False, allow_nan=False)


def _temporal_text(values: pl.Series) -> pl.Series:
    """Dates and times as polars writes them, for Python's own hold no nanoseconds; those beyond any calendar as ticks."""
    ticks = values.to_physical()
    if isinstance(values.dtype, pl.Date | pl.Datetime):
        unit = "d" if isinstance(values.dtype, pl.Date) else values.dtype.time_unit
        limit = min(_CALENDAR_DAYS * _TICKS_A_DAY[unit], 2**63 - 1)
        beyond = ((ticks < -limit) | (ticks > limit)).fill_null(value=False)
        if beyond.any():
            written = blank(values, beyond).dt.to_string("iso")
            counted = pl.format("{} " + unit + " since 1970-01-01", pl.lit(ticks))
            return pl.select(pl.when(beyond).then(counted).otherwise(written).alias(values.name)).to_series()
    return values.dt.to_string("iso")


def _json_value(value: Any) -> Any:  # noqa: PLR0911, one line a type
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        case Decimal():
            return format(value, "f")
        case bytes():
            return {"base64": base64.b64encode(value).decode("ascii")}
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case list():
            return [_json_value(item) for item in value]
        case dict():
            return {str(name): _json_value(item) for name, item in value.items()}
        case _:
            return value
