"""To which of several partitions each row of a source frame belongs, by the values of the partition columns."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from rowledger.contract.check import Contract
from rowledger.contract.check_columns import check_field
from rowledger.contract.inferred import with_values_apart
from rowledger.contract.refusals import Refusals
from rowledger.contract.target_types import as_frame_value
from rowledger.contract.uuids import uuids_for_fields
from rowledger.errors import SpecError
from rowledger.spec import ColumnType, Condition, Equals, Partition, Window

__all__ = ["RowPartitions"]


class RowPartitions:
    """Finds the partition of each row. It reads the partition columns as the load does, which judges the rows again."""

    def __init__(
        self, contract: Contract, partitions: Sequence[Partition], types: Mapping[str, ColumnType] | None = None
    ) -> None:
        """`types` are the table's actual column types by name.

        Raises SpecError for partitions without conditions, or with windows that overlap, and for a partition column whose
        values the row model's own code may change: it runs row by row, when the rows are loaded.
        """
        columns = list(dict.fromkeys(column for partition in partitions for column in partition.columns))
        if not columns or any(sorted(partition.columns) != sorted(columns) for partition in partitions):
            raise SpecError("no columns tell the rows of these partitions apart; name them by partition_by")
        self._rules = [rule for rule in contract.rules if rule.name in columns]
        for rule in self._rules:
            if rule.validators:
                raise SpecError(
                    f"{contract.name} has {', '.join(rule.validators)}, which may change the value of {rule.name!r} and so a "
                    "row's partition; give the rows of each by its key"
                )
        self._types = {rule.name: (types or {}).get(rule.name, rule.column.type) for rule in self._rules}
        self._dimensions: dict[str, _Windows | _Values] = {}
        numbers: dict[str, list[int]] = {}
        for name in columns:
            conditions = [partition.conditions_on(name)[0] for partition in partitions]
            number_of = {condition: number for number, condition in enumerate(dict.fromkeys(conditions))}
            self._dimensions[name] = _dimension(list(number_of), self._types[name])
            numbers[name] = [number_of[condition] for condition in conditions]
        self._partitions = pl.DataFrame(numbers, schema=dict.fromkeys(numbers, pl.Int64)).with_row_index("partition")

    def of_rows(self, frame: pl.DataFrame) -> pl.Series:
        """The position of each row's partition among the partitions; null for a row that belongs to none of them."""
        frame = with_values_apart(self._rules, uuids_for_fields(frame, self._rules))
        refusals = Refusals()  # not reported here: a refused value is in no partition
        numbers = {
            rule.name: self._dimensions[rule.name].numbers(check_field(rule, self._types[rule.name], frame, refusals))
            for rule in self._rules
        }
        found = pl.DataFrame(numbers).join(
            self._partitions, on=list(numbers), how="left", maintain_order="left", nulls_equal=False
        )["partition"]
        if not refusals:
            return found
        refused = np.zeros(frame.height, dtype=np.bool_)
        refused[refusals.rows()] = True
        return pl.select(pl.when(~pl.Series(refused)).then(found).alias("partition")).to_series()


def _dimension(conditions: Sequence[Condition], target: ColumnType) -> "_Windows | _Values":
    windows = [condition for condition in conditions if isinstance(condition, Window)]
    values = [condition for condition in conditions if isinstance(condition, Equals)]
    if windows and values:
        raise SpecError(f"the partitions set windows as well as values on column {windows[0].column!r}")
    return _Windows(windows, target) if windows else _Values(values, target)


class _Windows:
    def __init__(self, windows: Sequence[Window], target: ColumnType) -> None:
        self._order = np.array(sorted(range(len(windows)), key=lambda number: windows[number].lower))
        bounds = [windows[number].bounds(target.name) for number in self._order]
        self._lower, self._upper = (
            pl.Series([pair[side] for pair in bounds], dtype=target.frame_type).to_physical().to_numpy()
            for side in (0, 1)
        )
        if (self._upper[:-1] > self._lower[1:]).any():
            raise SpecError(f"the partitions' windows on column {windows[0].column!r} overlap")

    def numbers(self, column: pl.Series) -> pl.Series:
        """The position of each value's window; null for a value outside of all windows."""
        moments = column.to_physical().fill_null(self._lower[0] - 1).to_numpy()
        place = np.searchsorted(self._lower, moments, side="right") - 1
        inside = pl.Series((place >= 0) & (moments < self._upper[place]))
        return pl.select(pl.when(inside).then(pl.Series(self._order[place])).alias("number")).to_series()


class _Values:
    def __init__(self, values: Sequence[Equals], target: ColumnType) -> None:
        known = [as_frame_value(condition.value(target.name), target) for condition in values]
        self._known = pl.DataFrame({"value": pl.Series(known, dtype=target.frame_type), "number": range(len(known))})

    def numbers(self, column: pl.Series) -> pl.Series:
        """The position of each value among those of the conditions; null for another value."""
        values = column.to_frame("value")
        return values.join(self._known, on="value", how="left", maintain_order="left", nulls_equal=False)["number"]
