"""Columns whose type was inferred from their values: a type that the field never takes means bad values, not a bad source.

If the source declares its columns, as a Parquet file does, such a type is a mistake in the source or in the row model, and
nothing is loaded. If the type was inferred from this chunk alone, each value is judged on its own, as it would be among values
of other types: what becomes of a row must not depend on the rows that share its chunk.
"""

from collections.abc import Sequence

import polars as pl

from rowledger.contract.decimal_texts import digits_of
from rowledger.contract.kinds import Kind
from rowledger.contract.read_column import is_readable
from rowledger.contract.rules import FieldRules
from rowledger.contract.write_payloads import as_dynamic
from rowledger.spec import DECIMAL_TEXT, DYNAMIC

__all__ = ["with_values_apart"]


def with_values_apart(rules: Sequence[FieldRules], frame: pl.DataFrame) -> pl.DataFrame:
    """The frame, with each column that its field could never read converted to DYNAMIC."""
    odd = [name for rule in rules for name in rule.sources if name in frame.columns and _is_odd(rule, frame[name])]
    return frame.with_columns(_apart(frame[name]) for name in odd) if odd else frame


def _apart(source: pl.Series) -> pl.Series:
    """The column as a DYNAMIC one. Decimals stay numbers, as they are beside texts; a payload has them as texts."""
    if source.dtype != DECIMAL_TEXT and not isinstance(source.dtype, pl.Decimal):
        return as_dynamic(source)
    digits = digits_of(source) if source.dtype == DECIMAL_TEXT else source.cast(pl.String)
    return pl.select(pl.struct(digits.alias(DYNAMIC.fields[0].name))).to_series().alias(source.name)


def _is_odd(rules: FieldRules, source: pl.Series) -> bool:
    if rules.by_value or rules.kind in {Kind.LIST, Kind.JSON, Kind.ANY} or source.dtype == DYNAMIC:
        return False
    return source.null_count() < len(source) and not is_readable(rules, source.dtype)
