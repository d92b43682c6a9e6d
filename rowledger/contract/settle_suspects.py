"""Values that the column pass cannot judge: pydantic judges them, and the column takes its results.

Imported only if there is such a value, or a field that has no column form.
"""

# ruff: noqa: ANN401, a cell of a source row may be anything

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
from pydantic import ValidationError

from rowledger.contract.cells import field_values
from rowledger.contract.fit_value import FittedValue, fit_value
from rowledger.contract.refusal_reasons import reason_of
from rowledger.contract.refusals import Refusals
from rowledger.contract.rules import FieldRules
from rowledger.contract.silent_conversions import conversion_made, silent_conversion
from rowledger.spec import DECIMAL_TEXT, DYNAMIC, ColumnType

__all__ = ["settle"]


def settle(
    rules: FieldRules, target: ColumnType, source: pl.Series, suspects: pl.Series, values: pl.Series, refusals: Refusals
) -> pl.Series:
    """`values`, as read from `source`, with those marked by `suspects` replaced by pydantic's results.

    Values that pydantic refuses are added to `refusals`.
    """
    replaced: dict[int, Any] = {}
    for row, verdict in zip(suspects.arg_true(), _verdicts(rules, target, source.filter(suspects)), strict=True):
        if verdict.reason is None:
            replaced[row] = verdict.value
        else:
            refusals.add(row, rules.name, verdict.reason)
    if not replaced:
        return values
    patch = pl.Series(list(replaced.values()), dtype=target.frame_type)
    take = np.arange(len(values))
    take[list(replaced)] = len(values) + np.arange(len(patch))
    patched: pl.Series = pl.concat([values.alias(""), patch]).gather(take)  # scatter does not take nested values
    return patched


def _verdicts(rules: FieldRules, target: ColumnType, suspects: pl.Series) -> Iterable[FittedValue]:
    """Pydantic's verdict on each value; equal scalars are judged once."""
    values = field_values(rules, target, suspects)
    if suspects.dtype.is_nested() and suspects.dtype not in (DECIMAL_TEXT, DYNAMIC):
        yield from (judge(rules, target, value) for value in values)
        return
    verdicts: dict[Any, FittedValue] = {}
    for value in values:
        # Unlike the value itself as a key, repr distinguishes -0.0 from 0.0 and 1 from True, and finds a NaN again.
        key = value if isinstance(value, str) else (repr(value),)
        if (verdict := verdicts.get(key)) is None:
            verdict = verdicts[key] = judge(rules, target, value)
        yield verdict


def judge(rules: FieldRules, target: ColumnType, value: Any) -> FittedValue:
    """Pydantic's verdict on one non-null value, except that silent conversions are refused."""
    if (reason := silent_conversion(rules, value)) is not None:
        return FittedValue(reason=reason)
    try:
        valid = rules.adapter.validate_python(value)
    except ValidationError as error:
        return FittedValue(reason=reason_of(error, rules.adapter))
    except (ValueError, ArithmeticError):
        return FittedValue(reason=f"Input should be a valid {rules.kind}")
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - the row model's own code: its failure refuses the row
        return FittedValue(reason=f"validating it raised {type(error).__name__}")
    if (reason := conversion_made(rules, value, valid)) is not None:
        return FittedValue(reason=reason)
    return fit_value(rules, target, valid)
