"""Decimals of several scales, which a source keeps as texts: their digits, numbers of one scale, Python values.

Without the texts, a decimal's trailing zeros would depend on the other decimals of its batch.
"""

from decimal import Decimal
from typing import Any, cast

import polars as pl

from rowledger.spec import DECIMAL_DIGITS_MAX, DECIMAL_TEXT, holds_decimal_texts

__all__ = ["TEXT", "digits_of", "one_scale", "python_cells"]

_Dtype = Any
"""A polars type; the stubs know too little of what a nested one holds."""
TEXT = DECIMAL_TEXT.fields[0].name


def digits_of(column: pl.Series) -> pl.Series:
    """The text of each decimal of a DECIMAL_TEXT column: plain digits, with the source's trailing zeros."""
    return column.struct.field(TEXT).alias(column.name)


def one_scale(digits: pl.Series) -> pl.Decimal:
    """The type with as many decimals as the longest of these texts has."""
    scale = cast("int | None", (digits.str.len_bytes() - digits.str.find(".", literal=True) - 1).max())
    return pl.Decimal(DECIMAL_DIGITS_MAX, min(scale or 0, DECIMAL_DIGITS_MAX))


def python_cells(column: pl.Series) -> list[Any]:
    """The cells as Python values, with decimals at any depth as the source gave them."""
    if column.dtype == DECIMAL_TEXT:
        return [None if text is None else Decimal(text) for text in digits_of(column)]
    cells = column.to_list()
    return [_with_decimals(cell, column.dtype) for cell in cells] if holds_decimal_texts(column.dtype) else cells


def _with_decimals(cell: Any, dtype: _Dtype) -> Any:  # noqa: ANN401, a cell may be anything
    if cell is None or not holds_decimal_texts(dtype):
        return cell
    if dtype == DECIMAL_TEXT:
        return Decimal(cell[TEXT])
    if isinstance(dtype, pl.List | pl.Array):
        return [_with_decimals(item, dtype.inner) for item in cell]
    return {field.name: _with_decimals(cell[field.name], field.dtype) for field in dtype.fields}
