"""Fit checked values into the types that the target table really has: exactly, or not at all.

Two halves of one rule: `fit_column` at column speed, `misfit` for the single value that needs a closer look.
"""

# ruff: noqa: ANN401, what a value may be is for the row model to say

import math
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from enum import Enum
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl

from pipeline.contract.read import Reading
from pipeline.contract.rules import Kind
from pipeline.model.column import ColumnType, TypeName

__all__ = ["accepts", "as_frame_value", "fit_column", "misfit"]

_INTEGERS = {TypeName.SMALLINT: 2**15, TypeName.INTEGER: 2**31, TypeName.BIGINT: 2**63}
_WRITABLE: dict[Kind, set[TypeName]] = {
    Kind.BOOL: {TypeName.BOOLEAN},
    Kind.INT: {*_INTEGERS, TypeName.NUMERIC},
    Kind.FLOAT: {TypeName.DOUBLE, TypeName.REAL},
    Kind.DECIMAL: {TypeName.NUMERIC},
    Kind.TEXT: {TypeName.TEXT, TypeName.VARCHAR, TypeName.JSONB},
    Kind.BYTES: {TypeName.BYTEA},
    Kind.UUID: {TypeName.UUID},
    Kind.DATE: {TypeName.DATE},
    Kind.TIMESTAMP: {TypeName.TIMESTAMP},
    Kind.TIMESTAMPTZ: {TypeName.TIMESTAMPTZ},
    Kind.TIME: {TypeName.TIME},
}
_EXACT = Context(prec=1000)


def accepts(kind: Kind, target: ColumnType) -> bool:
    """Whether a column of that type can hold values of the kind without a change of meaning."""
    return target.name in _WRITABLE[kind]


def fit_column(reading: Reading, target: ColumnType) -> pl.Series:
    """The values in the target's frame type; those that may not fit are marked as suspects."""
    values, frame_type = reading.values, target.frame_type
    if target.name is TypeName.VARCHAR and target.length is not None:
        longest = values.str.len_bytes().max()
        if longest is not None and longest > target.length:  # type: ignore[operator]
            reading.doubt((values.str.len_chars() > target.length).fill_null(value=False))
    if values.dtype == frame_type:
        return values
    if isinstance(frame_type, pl.Decimal):
        return _fit_numeric(reading, frame_type)
    fitted = values.cast(frame_type, strict=False)
    if fitted.null_count() != values.null_count():
        reading.doubt(fitted.is_null() & values.is_not_null())
    if target.name is TypeName.REAL:
        reading.doubt((fitted.cast(pl.Float64) != values) & values.is_not_null() & values.is_not_nan())
    return fitted


def _fit_numeric(reading: Reading, frame_type: pl.Decimal) -> pl.Series:
    values = reading.values
    if not isinstance(values.dtype, pl.Decimal):
        values = values.cast(pl.Decimal(38, 0), strict=False)
    own = values.dtype
    fitted = values.cast(frame_type, strict=False)
    digits = own.precision or 38  # type: ignore[attr-defined]
    if own.scale <= frame_type.scale and digits - own.scale <= frame_type.precision - frame_type.scale:  # type: ignore[attr-defined]
        return fitted
    # A cast to fewer decimals rounds: what does not come back as it was has lost something.
    back = fitted.cast(pl.Decimal(38, own.scale), strict=False)  # type: ignore[attr-defined]
    lost = (back != values.cast(pl.Decimal(38, own.scale))).fill_null(value=True)  # type: ignore[attr-defined]
    reading.doubt(lost & reading.values.is_not_null())
    return fitted


def as_frame_value(value: Any, _target: ColumnType | None = None) -> Any:
    """What pydantic made of a value, as polars takes it."""
    match value:
        case Enum():
            return value.value
        case UUID():
            return value.bytes
        case datetime(tzinfo=zone) if zone is not None:
            return value.astimezone(UTC)
        case _:
            return value


def misfit(value: Any, target: ColumnType) -> str | None:  # noqa: PLR0911, one line a reason
    """Why the value does not fit the target's type exactly; None when it does."""
    frame_type = target.frame_type
    match target.name:
        case TypeName.SMALLINT | TypeName.INTEGER | TypeName.BIGINT:
            limit = _INTEGERS[target.name]
            return None if -limit <= value < limit else f"does not fit {target.sql}"
        case TypeName.NUMERIC:
            precision, scale = frame_type.precision, frame_type.scale  # type: ignore[attr-defined]
            try:
                scaled = Decimal(value).scaleb(scale, _EXACT)
            except InvalidOperation:
                return f"does not fit {target.sql}"
            if abs(scaled) >= 10**precision:
                return f"has more than the {precision - scale} digits before the decimal point that {target.sql} takes"
            if scaled != scaled.to_integral_value(context=_EXACT):
                return f"has more than the {scale} decimals that {target.sql} takes"
        case TypeName.REAL:
            with np.errstate(over="ignore"):
                if not math.isnan(value) and float(np.float32(value)) != value:
                    return "is not exact in real"
        case TypeName.VARCHAR if target.length is not None and len(value) > target.length:
            return f"has more than the {target.length} characters that {target.sql} takes"
        case _:
            pass
    return None
