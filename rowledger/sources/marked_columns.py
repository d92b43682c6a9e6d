"""Columns of Python values of one type, which may be one that polars lacks: UUIDs, and decimals that keep their trailing zeros.

Lists and structs are made of columns of their items and fields: polars makes them of values one by one, which takes 50 times as
long.
"""

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from rowledger.contract import polars_series, python_series
from rowledger.spec import DECIMAL_TEXT, UUID

__all__ = ["as_marked", "column_of_type", "decimal_digits", "decimal_texts", "marked"]

_NEGATIVE_ZERO = r"^-(0(?:\.0+)?)$"


def decimal_digits(name: str, values: list[Any]) -> pl.Series:
    """Decimals as texts, which polars reads three times as fast as the Decimal objects."""
    return pl.Series(name, [None if value is None else format(value, "f") for value in values], dtype=pl.String)


def decimal_texts(digits: pl.Series) -> pl.Series:
    """The digits of decimals as a DECIMAL_TEXT column."""
    if digits.str.starts_with("-0").any():  # drop the sign, as a column of one scale does
        digits = digits.str.replace(_NEGATIVE_ZERO, "$1")
    return marked(digits, DECIMAL_TEXT)


def column_of_type(name: str, values: list[Any], dtype: Any) -> pl.Series:  # noqa: ANN401, polars' stubs know too little of it
    """A column of a type that all values have; raises polars' errors and ValuesAltered."""
    if dtype == DECIMAL_TEXT:
        return decimal_texts(decimal_digits(name, values))
    if dtype == UUID:
        return marked(pl.Series(name, [v and v.bytes for v in values], dtype=pl.Binary), UUID)
    if not dtype.is_nested():
        return python_series(name, values, dtype, nulls=values.count(None))
    is_null = [value is None for value in values]
    if isinstance(dtype, pl.Struct):
        fields = [column_of_type(f.name, [v and v[f.name] for v in values], f.dtype) for f in dtype.fields]
        rows = pl.struct(fields)
        return pl.select(pl.when(~pl.Series(is_null)).then(rows).alias(name)).to_series()
    items = column_of_type("", [item for value in values for item in value or ()], dtype.inner)
    offsets = np.cumsum([0, *(len(value or ()) for value in values)], dtype=np.int64)
    is_valid = np.packbits([not null for null in is_null], bitorder="little")
    array = items.to_arrow(compat_level=pl.CompatLevel.oldest())
    buffers: list[Any] = [pa.py_buffer(is_valid.data), pa.py_buffer(offsets.data)]
    # Not by `pyarrow.array`, which imports pandas where it is installed.
    lists = pa.Array.from_buffers(pa.large_list(array.type), len(values), buffers, children=[array])
    return polars_series(name, lists)


def marked(contents: pl.Series, mark: pl.Struct) -> pl.Series:
    """The contents, texts or bytes, as a column of the type `mark`."""
    return contents.to_frame("v").select(as_marked(pl.col("v"), mark).alias(contents.name)).to_series()


def as_marked(contents: pl.Expr, mark: pl.Struct) -> pl.Expr:
    """The same for an expression."""
    return pl.when(contents.is_not_null()).then(pl.struct(contents.alias(mark.fields[0].name)))
