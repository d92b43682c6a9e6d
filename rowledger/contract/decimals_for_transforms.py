"""Decimals of several scales, for transforms: numbers of one scale before the transform, and their own texts after it."""

from typing import Any

import polars as pl

from rowledger.contract.decimal_texts import TEXT, digits_of, one_scale
from rowledger.contract.nested_types import types_in
from rowledger.contract.write_payloads import as_dynamic
from rowledger.spec import DECIMAL_TEXT, ROW, holds_decimal_texts

_Dtype = Any
"""A polars type; the stubs know too little of what a nested one holds."""

__all__ = ["for_calculation", "with_scales_kept"]


def for_calculation(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with such decimals as numbers of one scale; a column whose values do not fit one scale as JSON texts."""
    columns = [frame[name] for name, dtype in frame.schema.items() if holds_decimal_texts(dtype)]
    return frame.with_columns(map(_calculable, columns)) if columns else frame


def with_scales_kept(transformed: pl.DataFrame, source: pl.DataFrame, calculable: pl.DataFrame) -> pl.DataFrame:
    """The result of a transform of `for_calculation(source)`, with unchanged decimals as `source` has them.

    ROW says which row of `source` a row comes from. Calculated decimals have the scale that polars gives them.
    """
    columns = []
    for name, dtype in source.schema.items():
        if name not in transformed.columns or not holds_decimal_texts(dtype):
            continue
        made, given = transformed[name], calculable[name]
        if made.dtype == given.dtype and _holds_decimals(made.dtype):
            rows = transformed[ROW]
            is_as_given = given.gather(rows).eq_missing(made)
            texts = pl.select(_texts(pl.lit(made), dtype)).to_series()
            kept = pl.when(is_as_given).then(source[name].gather(rows)).otherwise(texts)
            columns.append(pl.select(kept.alias(name)).to_series())
    return transformed.with_columns(columns) if columns else transformed


def _holds_decimals(dtype: _Dtype) -> bool:
    """Whether the type contains polars' decimals at any depth."""
    return any(isinstance(part, pl.Decimal) for part in types_in(dtype))


def _calculable(column: pl.Series) -> pl.Series:
    numbers = _numbers(pl.lit(column), column.dtype, _calculable_type(column))
    try:
        return pl.select(numbers.alias(column.name)).to_series()
    except pl.exceptions.InvalidOperationError:
        return as_dynamic(column)


def _calculable_type(column: pl.Series) -> _Dtype:
    dtype: _Dtype = column.dtype
    if dtype == DECIMAL_TEXT:
        return one_scale(digits_of(column))
    if not holds_decimal_texts(dtype):
        return dtype
    if isinstance(dtype, pl.Struct):
        return pl.Struct({f.name: _calculable_type(f) for f in column.struct.unnest().get_columns()})
    return pl.List(_calculable_type(column.explode(empty_as_null=False, keep_nulls=False)))


def _numbers(expr: pl.Expr, dtype: _Dtype, wanted: _Dtype) -> pl.Expr:
    """Texts as numbers of the types at the same places in `wanted`."""
    if dtype == DECIMAL_TEXT:
        return expr.struct.field(TEXT).cast(wanted)
    if not holds_decimal_texts(dtype):
        return expr
    if isinstance(dtype, pl.List):
        return expr.list.eval(_numbers(pl.element(), dtype.inner, wanted.inner))
    parts = zip(dtype.fields, wanted.fields, strict=True)
    fields = [_numbers(expr.struct.field(p.name), p.dtype, w.dtype).alias(p.name) for p, w in parts]
    return pl.when(expr.is_not_null()).then(pl.struct(fields))


def _texts(expr: pl.Expr, dtype: _Dtype) -> pl.Expr:
    """Numbers as texts where `dtype` has texts."""
    if dtype == DECIMAL_TEXT:
        return pl.when(expr.is_not_null()).then(pl.struct(expr.cast(pl.String).alias(TEXT)))
    if not holds_decimal_texts(dtype):
        return expr
    if isinstance(dtype, pl.List):
        return expr.list.eval(_texts(pl.element(), dtype.inner))
    fields = [_texts(expr.struct.field(part.name), part.dtype).alias(part.name) for part in dtype.fields]
    return pl.when(expr.is_not_null()).then(pl.struct(fields))
