"""Values that a pass over a column cannot tell good from bad: pydantic does, and the column takes what it made of them.

Imported when there is such a value, or a field that has no column form.
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


def judge(rules: FieldRules, target: ColumnType, value: Any) -> FittedValue:
    """What pydantic says about one value that is not null, less its silent conversions."""
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
    except Exception as error:  # noqa: BLE001 - code of the row model's own: its faults are the row's
        return FittedValue(reason=f"validating it raised {type(error).__name__}")
    if (reason := conversion_made(rules, value, valid)) is not None:
        return FittedValue(reason=reason)
    return fit_value(rules, target, valid)
