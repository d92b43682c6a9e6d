"""Check a source frame against a row model: one pass over columns, then pydantic for the values that stand out.

Reductions (minimum, maximum, longest, null count) come first; a mask over rows is built only if one of them says that a
column breaks a rule. Marked values go to pydantic, whose verdict counts. A model with Python code of its own is validated
row by row instead, in `row_by_row`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from rowledger.contract.check_columns import check_conditions, check_field
from rowledger.contract.checked import Checked
from rowledger.contract.refusals import Refusals
from rowledger.contract.rules import FieldRules
from rowledger.contract.undeclared_columns import evolved_rules, has_value
from rowledger.contract.uuids import uuids_for_fields
from rowledger.errors import SourceError
from rowledger.spec import Column, ColumnType, Drift, Partition

if TYPE_CHECKING:
    from rowledger.contract.check import Contract

__all__ = ["check_frame"]


def check_frame(
    contract: "Contract",
    frame: pl.DataFrame,
    *,
    types: Mapping[str, ColumnType],
    bounds: Partition | None,
    drift: Drift,
    evolved: Sequence[Column],
    types_inferred: bool,
    letters_max: int | None,
    on_progress: Callable[[int], None],
) -> Checked:
    """What `Contract.check` promises."""
    given = frame
    contract.require_writable(types)
    extra = evolved_rules(tuple(evolved))
    rules = (*contract.rules, *extra)
    frame = uuids_for_fields(frame, rules)
    if types_inferred:
        from rowledger.contract.inferred import with_values_apart  # noqa: PLC0415, only sources without types of their own

        frame = with_values_apart(contract.rules, frame)
    refusals = Refusals()
    discarded_values = _see_to_drift(contract, frame, drift, extra, refusals)
    targets = {rule.name: types.get(rule.name, rule.column.type) for rule in rules}
    columns: list[pl.Series] = []
    if contract.row_by_row is not None:
        from rowledger.contract.row_by_row import check_rows  # noqa: PLC0415, few models have code of their own

        columns = check_rows(contract.model, contract.rules, frame, targets, refusals, on_progress)
    for rule in rules[len(columns) :]:  # after a validation row by row, only the evolved ones
        columns.append(check_field(rule, targets[rule.name], frame, refusals))
        on_progress(1)
    if bounds is not None:
        for rule, column in zip(contract.rules, columns, strict=False):
            check_conditions(rule, column, targets[rule.name], bounds, refusals)
    good = pl.DataFrame(columns)
    if not refusals:
        return Checked(good, None, [], discarded_values)
    keep = np.ones(frame.height, dtype=np.bool_)
    keep[refusals.rows()] = False
    good_rows = pl.Series("row_no", np.flatnonzero(keep), dtype=pl.Int64)
    letters = refusals.dead_letters(given, targets, letters_max)
    rows_left_out = frame.height - len(good_rows) - len(letters)
    return Checked(good.filter(pl.Series(keep)), good_rows, letters, discarded_values, rows_left_out)


def _see_to_drift(
    contract: "Contract", frame: pl.DataFrame, drift: Drift, evolved: Sequence[FieldRules], refusals: Refusals
) -> int:
    """Apply `drift` to unknown columns, and count the values that it discards."""
    known_by_now = {name for rule in evolved for name in rule.sources}
    schema = {name: dtype for name, dtype in frame.schema.items() if name not in known_by_now}
    unknown = contract.drift_of(schema).unknown
    match drift:
        case Drift.FREEZE:
            contract.require_columns(schema)
        case Drift.EVOLVE:
            # A column without values has no known type yet, so the table does not have it.
            if brought := [name for name in unknown if has_value(frame[name]).any()]:
                raise SourceError(
                    f"the source has columns that neither {contract.name} nor its table has: {brought}; they came up after "
                    "the load had begun: rerun it"
                )
        case Drift.DISCARD_VALUE:
            return sum(int(has_value(frame[name]).sum()) for name in unknown)
        case Drift.DISCARD_ROW:
            for name in unknown:
                refusals.add_mask(has_value(frame[name]), name, f"is a column that {contract.name} does not know")
    return 0
