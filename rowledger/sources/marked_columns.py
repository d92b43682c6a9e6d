"""Columns of Python values for which polars has no type, at any depth: UUIDs, and decimals that keep their trailing zeros."""

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from rowledger.contract import polars_series, python_series
from rowledger.spec import DECIMAL_TEXT, UUID, types_in

__all__ = ["as_marked", "column_with_marks", "decimal_digits", "decimal_texts", "holds_marks", "marked"]

_NEGATIVE_ZERO = r"^-(0(?:\.0+)?)$"


def decimal_digits(name: str, values: list[Any]) -> pl.Series:
    """Decimals as texts, which polars reads three times as fast as the Decimal objects."""
    return pl.Series(name, [None if value is None else format(value, "f") for value in values], dtype=pl.String)


def decimal_texts(digits: pl.Series) -> pl.Series:
    """The digits of decimals as a DECIMAL_TEXT column."""
    if digits.str.starts_with("-0").any():  # drop the sign, as a column of one scale does
        digits = digits.str.replace(_NEGATIVE_ZERO, "$1")
    return marked(digits, DECIMAL_TEXT)


def holds_marks(dtype: pl.DataType) -> bool:
    """Whether the type is or contains DECIMAL_TEXT or UUID, at any depth."""
    return any(inner in (DECIMAL_TEXT, UUID) for inner in types_in(dtype))


def column_with_marks(name: str, values: list[Any], dtype: Any) -> pl.Series:  # noqa: ANN401, polars' stubs know too little of it
    """A column of a type that is or contains DECIMAL_TEXT or UUID; raises polars' errors and ValuesAltered."""
    if dtype == DECIMAL_TEXT:
        return decimal_texts(decimal_digits(name, values))
    if dtype == UUID:
        return marked(pl.Series(name, [v and v.bytes for v in values], dtype=pl.Binary), UUID)
    if not holds_marks(dtype):
        return python_series(name, values, dtype, nulls=values.count(None))
    is_null = [value is None for value in values]
    if isinstance(dtype, pl.Struct):
        fields = [column_with_marks(f.name, [v and v[f.name] for v in values], f.dtype) for f in dtype.fields]
        rows = pl.struct(fields)
        return pl.select(pl.when(~pl.Series(is_null)).then(rows).alias(name)).to_series()
    items = column_with_marks("", [item for value in values for item in value or ()], dtype.inner)
    offsets = np.cumsum([0, *(len(value or ()) for value in values)])
    lists = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), items.to_arrow(), mask=pa.array(is_null))
    return polars_series(name, lists)


def marked(contents: pl.Series, mark: pl.Struct) -> pl.Series:
    """The contents, texts or bytes, as a column of the type `mark`."""
    return contents.to_frame("v").select(as_marked(pl.col("v"), mark).alias(contents.name)).to_series()


def as_marked(contents: pl.Expr, mark: pl.Struct) -> pl.Expr:
    """The same for an expression."""
    return pl.when(contents.is_not_null()).then(pl.struct(contents.alias(mark.fields[0].name)))
