"""Columns whose type came from their values: one of a type that the field never takes is bad values, not a bad source.

Where somebody declared the columns, as in a Parquet file, such a type is a mistake in the source or the row model, and nothing
is loaded. Where a parser named it by what it found in this chunk, each value is judged by itself, as it would be among others.
"""

from collections.abc import Sequence

import polars as pl

from rowledger.contract.kinds import Kind
from rowledger.contract.read_column import is_readable
from rowledger.contract.rules import FieldRules
from rowledger.contract.write_payloads import as_dynamic
from rowledger.spec import DYNAMIC

__all__ = ["with_values_apart"]


def with_values_apart(rules: Sequence[FieldRules], frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with each column that its field could never read as a column of values of any type."""
    odd = [name for rule in rules for name in rule.sources if name in frame.columns and _is_odd(rule, frame[name])]
    return frame.with_columns(as_dynamic(frame[name]) for name in odd) if odd else frame


def _is_odd(rules: FieldRules, source: pl.Series) -> bool:
    if rules.by_value or rules.kind in {Kind.LIST, Kind.JSON, Kind.ANY} or source.dtype == DYNAMIC:
        return False
    return source.null_count() < len(source) and not is_readable(rules, source.dtype)
