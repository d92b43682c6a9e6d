"""Fit checked values into the target table's actual types: exactly, or not at all.

`fit_column` and `misfit` are two halves of one rule: the first works at column speed, the second on a single suspect.
"""

# ruff: noqa: ANN401, the row model decides what a value may be

import math
from datetime import UTC, datetime, time, timedelta
from decimal import Context, Decimal, InvalidOperation
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl

from rowledger.contract.inet import network_bytes
from rowledger.contract.kinds import Kind
from rowledger.contract.reading import Reading
from rowledger.contract.rules import FieldRules
from rowledger.spec import DECIMAL_DIGITS_MAX, INTEGER_LIMITS, ColumnType, TypeName

__all__ = ["as_frame_value", "doubt_undeclared_digits", "fit_column", "misfit"]

_ODD_DECIMAL = r"^-?0[0-9]|^-0(\.0+)?$"
_EXACT = Context(prec=200_000)  # more digits than a numeric has, so nothing is rounded
_MICROSECOND = timedelta(microseconds=1)
_TICKS_A_US = {TypeName.TIME: 1000}  # polars keeps times of day in ns; all other times here are in µs
_NUMERIC_DECIMALS_MAX = 16_383
_NUMERIC_DIGITS_MAX = 131_072  # before the decimal point; PostgreSQL manual, table of numeric types


def fit_column(reading: Reading, target: ColumnType) -> pl.Series:
    """The values in the target's frame type; values that may not fit are marked as suspects."""
    frame_type = target.frame_type
    match target.name:
        case TypeName.NUMERIC:
            return _fit_numeric(reading, target)
        case TypeName.CHAR:
            reading.values = _without_padding(reading.values)
            _doubt_long(reading, target)
        case TypeName.VARCHAR:
            _doubt_long(reading, target)
        case TypeName.ENUM:
            reading.doubt(~reading.values.is_in(target.labels))
        case _ if target.precision is not None:
            ticks = reading.values.to_physical()
            step = 10 ** (6 - target.precision) * _TICKS_A_US.get(target.name, 1)
            reading.doubt(ticks % step != 0)
        case _:
            pass
    values = reading.values
    if values.dtype == frame_type:
        return values
    fitted = values.cast(frame_type, strict=False)
    if fitted.null_count() != values.null_count():
        reading.doubt(fitted.is_null() & values.is_not_null())
    if target.name is TypeName.REAL:
        reading.doubt((fitted.cast(pl.Float64) != values) & values.is_not_nan())
    return fitted


def doubt_undeclared_digits(rules: FieldRules, reading: Reading, target: ColumnType) -> None:
    """Mark decimals with more digits than the field declares, which a wider column of the table would accept."""
    declared = rules.column.type
    if rules.kind is Kind.DECIMAL and declared.precision is not None and declared != target:
        probe = Reading(reading.values, written=reading.written)
        fit_column(probe, declared)
        if probe.suspect is not None:
            reading.doubt(probe.suspect)


def _doubt_long(reading: Reading, target: ColumnType) -> None:
    if target.length is not None:
        longest = reading.values.str.len_bytes().max()
        if longest is not None and longest > target.length:  # type: ignore[operator]
            reading.doubt(reading.values.str.len_chars() > target.length)


def _without_padding(values: pl.Series) -> pl.Series:
    """The values without trailing blanks, which are insignificant in char(n), so that values the server pads compare equal."""
    return values.str.strip_chars_end(" ") if values.str.ends_with(" ").any() else values


def _fit_numeric(reading: Reading, target: ColumnType) -> pl.Series:
    values, frame_type = reading.values, target.frame_type
    if values.dtype == frame_type:
        return values
    if not isinstance(values.dtype, pl.Decimal):
        values = values.cast(pl.Decimal(DECIMAL_DIGITS_MAX, 0), strict=False)
    own = values.dtype
    own_digits, own_scale = own.precision or DECIMAL_DIGITS_MAX, own.scale  # type: ignore[attr-defined]
    if not isinstance(frame_type, pl.Decimal):
        before, after = target.precision, target.scale or 0
        if before is not None and (own_scale > after or own_digits - own_scale > before - after):
            reading.doubt(values.is_not_null())  # more digits than polars has, or a negative scale: judged one by one
        return values.cast(pl.String) if reading.written is None else _as_the_server_prints(reading.written)
    fitted = values.cast(frame_type, strict=False)
    if own_scale <= frame_type.scale and own_digits - own_scale <= frame_type.precision - frame_type.scale:
        return fitted
    # A cast to fewer decimals rounds. A value that does not survive the way back has lost digits.
    back = fitted.cast(pl.Decimal(DECIMAL_DIGITS_MAX, own_scale), strict=False)
    reading.doubt(back != values.cast(pl.Decimal(DECIMAL_DIGITS_MAX, own_scale)))
    return fitted


def _as_the_server_prints(decimals: pl.Series) -> pl.Series:
    """Plain decimal texts without leading zeros, and without a sign before zero."""
    if not decimals.str.contains(_ODD_DECIMAL).any():
        return decimals
    return decimals.str.replace(r"^(-?)0+([0-9])", "$1$2").str.replace(r"^-(0(?:\.0+)?)$", "$1")


def as_frame_value(value: Any, target: ColumnType) -> Any:  # noqa: PLR0911, one line per type
    """A valid value, as polars takes it for the target's frame type; a value that `misfit` refuses is unchanged."""
    match value:
        case UUID():
            return value.bytes
        case datetime(tzinfo=zone) if zone is not None:
            return value.astimezone(UTC)
        case IPv4Address() | IPv6Address() | IPv4Network() | IPv6Network():  # an interface is an address
            return network_bytes(value) or value
        case str() if target.name is TypeName.CHAR:
            return value.rstrip(" ")
        case int() | Decimal() if target.name is TypeName.NUMERIC and not isinstance(target.frame_type, pl.Decimal):
            return _numeric_text(Decimal(value))
        case Decimal() if target.name is TypeName.NUMERIC and value == 0:
            # Polars rejects a zero with an exponent such as 0E+100, and the server has no negative zero.
            return Decimal(0)
        case list() | tuple() if target.array:
            return [as_frame_value(item, target.element) for item in value]
        case _:
            return value


def _numeric_text(value: Decimal) -> str | Decimal:
    if not value.is_finite():
        return "NaN" if value.is_nan() else str(value)
    if not value:
        value = value.copy_abs()  # the server has no negative zero
    return value if abs(value.adjusted()) > _NUMERIC_DIGITS_MAX else format(value, "f")


def misfit(value: Any, target: ColumnType) -> str | None:  # noqa: PLR0911, one line per reason
    """Why the value, as `as_frame_value` returns it, does not fit the target's type exactly; None if it does."""
    match target.name:
        case TypeName.SMALLINT | TypeName.INTEGER | TypeName.BIGINT:
            limit = INTEGER_LIMITS[target.name]
            return None if -limit <= value < limit else f"does not fit {target.sql}"
        case TypeName.NUMERIC:
            return _numeric_misfit(Decimal(value), target)
        case TypeName.REAL:
            with np.errstate(over="ignore"):
                if not math.isnan(value) and float(np.float32(value)) != value:
                    return "is not exact in real"
        case TypeName.VARCHAR | TypeName.CHAR if target.length is not None and len(value) > target.length:
            return f"has more than the {target.length} characters that {target.sql} takes"
        case TypeName.ENUM if value not in target.labels:
            return f"is none of the labels of the enum {target.element_sql}"
        case TypeName.INET | TypeName.CIDR if not isinstance(value, bytes):
            return f"has a zone of its address, which {target.sql} does not hold"
        case TypeName.INTERVAL if not -(2**63) < value // _MICROSECOND < 2**63:
            return "is longer than the 292,471 years that fit into 64 bits of microseconds"
        case _ if target.precision is not None and _microseconds(value) % 10 ** (6 - target.precision):
            return f"has more than the {target.precision} digits below the second that {target.sql} takes"
        case _:
            pass
    return None


def _microseconds(value: datetime | time | timedelta) -> int:
    return value // _MICROSECOND if isinstance(value, timedelta) else value.microsecond


def _numeric_misfit(value: Decimal, target: ColumnType) -> str | None:  # noqa: PLR0911, one line per reason
    digits, places = target.precision, target.scale or 0
    if not value.is_finite():
        takes_all = not isinstance(target.frame_type, pl.Decimal) and (digits is None or value.is_nan())
        return None if takes_all else f"is no finite number, which {target.sql} is not written with"
    if digits is None:
        if abs(value.adjusted()) > _NUMERIC_DIGITS_MAX:
            return f"has more than the {_NUMERIC_DIGITS_MAX} digits that {target.sql} takes"
        if value.as_tuple().exponent < -_NUMERIC_DECIMALS_MAX:  # type: ignore[operator]  # of finite numbers it is an int
            return f"has more than the {_NUMERIC_DECIMALS_MAX} decimals that {target.sql} takes"
        return None
    try:
        scaled = value.scaleb(places, _EXACT)
    except InvalidOperation:
        return f"does not fit {target.sql}"
    if abs(scaled) >= 10**digits:
        return f"has more than the {digits - places} digits before the decimal point that {target.sql} takes"
    if scaled != scaled.to_integral_value(context=_EXACT):
        if places < 0:
            return f"is no multiple of {10**-places}, as {target.sql} takes"
        return f"has more than the {places} decimals that {target.sql} takes"
    return None
