"""Values that a pass over a column cannot tell good from bad: pydantic does, and the column takes what it made of them.

Imported when there is such a value, or a field that has no column form.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from rowledger.contract.cells import field_values
from rowledger.contract.explain import judge
from rowledger.contract.refusals import Refusals
from rowledger.contract.rules import FieldRules
from rowledger.contract.values import FittedValue
from rowledger.spec import DECIMAL_TEXT, DYNAMIC, ColumnType

__all__ = ["settle"]


def settle(
    rules: FieldRules, target: ColumnType, source: pl.Series, suspects: pl.Series, values: pl.Series, refusals: Refusals
) -> pl.Series:
    """`values`, as they were read of `source`, with those at the mask `suspects` replaced by what pydantic makes of them.

    Those that it refuses are added to `refusals`.
    """
    replaced: list[tuple[int, Any]] = []
    for row, verdict in zip(suspects.arg_true(), _verdicts(rules, target, source.filter(suspects)), strict=True):
        if verdict.reason is None:
            replaced.append((row, verdict.value))
        else:
            refusals.add(row, rules.name, verdict.reason)
    if not replaced:
        return values
    patch = pl.Series([value for _, value in replaced], dtype=target.frame_type)
    return _patched(values, [row for row, _ in replaced], patch)


def _verdicts(rules: FieldRules, target: ColumnType, suspects: pl.Series) -> Iterable[FittedValue]:
    """Pydantic's verdict of each value; equal ones are judged once."""
    values = field_values(rules, target, suspects)
    if suspects.dtype.is_nested() and suspects.dtype not in (DECIMAL_TEXT, DYNAMIC):
        yield from (judge(rules, target, value) for value in values)
        return
    verdicts: dict[Any, FittedValue] = {}
    for value in values:
        # repr tells -0.0 from 0.0 and finds NaN again, which a float as a key does not; and 1 from True, where types mix.
        key = value if isinstance(value, str) else (repr(value),)
        if (verdict := verdicts.get(key)) is None:
            verdict = verdicts[key] = judge(rules, target, value)
        yield verdict


def _patched(values: pl.Series, rows: list[int], patch: pl.Series) -> pl.Series:
    """The values with those at `rows` replaced, whatever their type."""
    take = np.arange(len(values))
    take[rows] = np.arange(len(values), len(values) + len(patch))
    extended: pl.Series = pl.concat([values.alias(""), patch.alias("")])
    return extended.gather(take)
