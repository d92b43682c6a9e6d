"""Decimals of several scales, for transforms: numbers of one scale before the transform, and their own texts after it."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from rowledger.contract.decimal_texts import TEXT, digits_of, one_scale
from rowledger.contract.write_payloads import as_dynamic
from rowledger.spec import DECIMAL_TEXT, ROW, holds_decimal_texts, types_in, with_parts

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
            texts = pl.select(with_parts(pl.lit(made), dtype, _is_decimal_text, _as_text)).to_series()
            kept = pl.when(is_as_given).then(source[name].gather(rows)).otherwise(texts)
            columns.append(pl.select(kept.alias(name)).to_series())
    return transformed.with_columns(columns) if columns else transformed


def _holds_decimals(dtype: _Dtype) -> bool:
    """Whether the type contains polars' decimals at any depth."""
    return any(isinstance(part, pl.Decimal) for part in types_in(dtype))


def _is_decimal_text(dtype: _Dtype) -> bool:
    return bool(dtype == DECIMAL_TEXT)


def _calculable(column: pl.Series) -> pl.Series:
    scales = _scales(column)
    numbers = with_parts(
        pl.lit(column), column.dtype, _is_decimal_text, lambda part, _: part.struct.field(TEXT).cast(next(scales))
    )
    try:
        return pl.select(numbers.alias(column.name)).to_series()
    except pl.exceptions.InvalidOperationError:
        return as_dynamic(column)


def _scales(column: pl.Series) -> Iterator[pl.Decimal]:
    """The type for each part of decimals, in the order in which `with_parts` comes to them."""
    match column.dtype:
        case _ if column.dtype == DECIMAL_TEXT:
            yield one_scale(digits_of(column))
        case pl.List():
            yield from _scales(column.explode(empty_as_null=False, keep_nulls=False))
        case pl.Struct():
            for part in column.struct.unnest().get_columns():
                yield from _scales(part)


def _as_text(numbers: pl.Expr, _dtype: _Dtype) -> pl.Expr:
    return pl.when(numbers.is_not_null()).then(pl.struct(numbers.cast(pl.String).alias(TEXT)))
