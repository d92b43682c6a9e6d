"""Check a source frame against a row model: one pass over columns, then pydantic for the values that stand out.

Reductions (minimum, maximum, longest, null count) come first; a mask over rows is built only if one of them says that a
column breaks a rule. Marked values go to pydantic, whose verdict counts. A model with Python code of its own is validated
row by row instead, in `row_by_row`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from pydantic import BaseModel

from rowledger.contract.check_columns import can_hold, check_conditions, check_field
from rowledger.contract.compile import compile_model
from rowledger.contract.dead_letter import DeadLetter
from rowledger.contract.drift import SourceDrift, columns_for, drift_of, evolved_rules, has_value, require_names
from rowledger.contract.kinds import Kind
from rowledger.contract.refusals import Refusals
from rowledger.contract.rules import FieldRules
from rowledger.contract.uuids import uuids_for_fields
from rowledger.errors import SourceError, TargetMismatch
from rowledger.spec import DYNAMIC, Column, ColumnType, Drift, Partition

__all__ = ["Checked", "Contract"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A frame after its check.

    `good` has the contract's columns in its order, followed by the evolved ones, in the target's frame types. `good_rows`
    holds the position of each good row in the checked frame; None means that no row was refused. `rejected` has these positions
    as `row_no`. `discarded_values` counts the values of unknown columns that were left out.
    """

    good: pl.DataFrame
    good_rows: pl.Series | None
    rejected: list[DeadLetter]
    discarded_values: int = 0


@dataclass(frozen=True)
class Contract:
    """A compiled row model. `row_by_row` names the model's Python code that requires validation row by row, if any."""

    model: type[BaseModel]
    rules: tuple[FieldRules, ...]
    row_by_row: str | None = None

    @staticmethod
    @cache
    def of(row: type[BaseModel]) -> "Contract":
        """Compile a row model, once per process; raises ContractError."""
        return Contract(row, *compile_model(row))

    @property
    def name(self) -> str:
        return self.model.__name__

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(rule.column for rule in self.rules)

    @property
    def value_by_value(self) -> dict[str, str]:
        """Columns whose every distinct value goes to pydantic, with the construct that requires it."""
        return {rule.name: rule.by_value for rule in self.rules if rule.by_value}

    @property
    def payload_schema(self) -> dict[str, pl.DataType]:
        """The types in which a dead letter's payload is read back if its source's types are no longer known."""
        return {
            rule.sources[0]: DYNAMIC if rule.by_value or rule.element or rule.members else rule.column.type.frame_type
            for rule in self.rules
        }

    @property
    def documents(self) -> frozenset[str]:
        """The source's columns that become JSON documents unchanged; columns of JSON texts are not among them."""
        return frozenset(
            name for rule in self.rules if rule.kind is Kind.JSON and rule.by_value != "Json" for name in rule.sources
        )

    def drift_of(self, schema: Mapping[str, pl.DataType]) -> SourceDrift:
        """The source's unknown and missing columns, by name alone."""
        return drift_of(self.rules, schema)

    def columns_for(self, schema: Mapping[str, pl.DataType]) -> list[Column]:
        """The nullable columns that the source's unknown columns would become in the table; raises SourceError."""
        unknown = self.drift_of(schema).unknown
        for rule in self.rules:
            if rule.name in unknown:
                raise SourceError(
                    f"the source's column {rule.name!r} cannot become a column of the table, because field {rule.field}, which "
                    f"reads {rule.sources[0]!r}, has the column of this name; give the field another serialization_alias, or "
                    "leave the column out of the source"
                )
        return columns_for(unknown)

    def require_columns(self, schema: Mapping[str, pl.DataType]) -> None:
        """Raise SourceError for unknown or missing columns of a source, as `Drift.FREEZE` does."""
        found = self.drift_of(schema)
        require_names(found.unknown)
        if found.unknown or found.missing:
            from rowledger.contract.unmatched_columns import told_unmatched  # noqa: PLC0415, only for an error

            raise SourceError(told_unmatched(self.model, self.rules, list(found.unknown), found.missing))

    def misfits(self, types: Mapping[str, ColumnType]) -> list[Column]:
        """The columns, with the contract's types, whose type in the target cannot hold them."""
        return [rule.column for rule in self._misfits(types)]

    def _misfits(self, types: Mapping[str, ColumnType]) -> list[FieldRules]:
        return [rule for rule in self.rules if rule.name in types and not can_hold(rule, types[rule.name])]

    def require_writable(self, types: Mapping[str, ColumnType]) -> None:
        """Raise TargetMismatch, listing every column whose type in the target cannot hold it."""
        problems = [
            f"column {rule.name!r} is {types[rule.name].sql} in the table, but {self.name} declares it as {rule.kind} "
            f"({rule.column.type.sql})"
            for rule in self._misfits(types)
        ]
        if problems:
            raise TargetMismatch(f"{'; '.join(problems)}; alter the table or the row model")

    def check(
        self,
        frame: pl.DataFrame,
        *,
        types: Mapping[str, ColumnType] | None = None,
        bounds: Partition | None = None,
        drift: Drift = Drift.FREEZE,
        evolved: Sequence[Column] = (),
        types_inferred: bool = False,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Checked:
        """Separate the good rows, cast to the target's types, from the refused ones.

        `types` are the table's actual column types by name; the default is the contract's. Rows that break a condition of
        `bounds` are refused. `drift` says what happens to source columns that the contract does not declare; `evolved` are
        those that the table already has. `types_inferred` says that the frame's types were inferred from its values.
        `on_progress` is called with 1 for each row or column that is done. Raises SourceError for a column whose type never
        fits, unless types are inferred, and for unknown or missing columns under FREEZE; and TargetMismatch.
        """
        types, given = types or {}, frame
        self.require_writable(types)
        extra = evolved_rules(tuple(evolved))
        rules = (*self.rules, *extra)
        frame = uuids_for_fields(frame, rules)
        if types_inferred:
            from rowledger.contract.inferred import with_values_apart  # noqa: PLC0415, only sources without types of their own

            frame = with_values_apart(self.rules, frame)
        refusals = Refusals()
        discarded_values = self._see_to_drift(frame, drift, extra, refusals)
        targets = {rule.name: types.get(rule.name, rule.column.type) for rule in rules}
        columns: list[pl.Series] = []
        if self.row_by_row is not None:
            from rowledger.contract.row_by_row import check_rows  # noqa: PLC0415, few models have code of their own

            columns = check_rows(self.model, self.rules, frame, targets, refusals, on_progress)
        for rule in rules[len(columns) :]:  # after a validation row by row, only the evolved ones
            columns.append(check_field(rule, targets[rule.name], frame, refusals))
            on_progress(1)
        if bounds is not None:
            for rule, column in zip(self.rules, columns, strict=False):
                check_conditions(rule, column, targets[rule.name], bounds, refusals)
        good = pl.DataFrame(columns)
        if not refusals:
            return Checked(good, None, [], discarded_values)
        keep = np.ones(frame.height, dtype=np.bool_)
        keep[refusals.rows()] = False
        good_rows = pl.Series("row_no", np.flatnonzero(keep), dtype=pl.Int64)
        letters = refusals.dead_letters(given, targets)
        return Checked(good.filter(pl.Series(keep)), good_rows, letters, discarded_values)

    def _see_to_drift(
        self, frame: pl.DataFrame, drift: Drift, evolved: Sequence[FieldRules], refusals: Refusals
    ) -> int:
        """Apply `drift` to unknown columns, and count the values that it discards."""
        known_by_now = {name for rule in evolved for name in rule.sources}
        schema = {name: dtype for name, dtype in frame.schema.items() if name not in known_by_now}
        unknown = self.drift_of(schema).unknown
        match drift:
            case Drift.FREEZE:
                self.require_columns(schema)
            case Drift.EVOLVE:
                # A column without values has no known type yet, so the table does not have it.
                if brought := [name for name in unknown if has_value(frame[name]).any()]:
                    raise SourceError(
                        f"the source has columns that neither {self.name} nor its table has: {brought}; they came up after "
                        "the load had begun: rerun it"
                    )
            case Drift.DISCARD_VALUE:
                return sum(int(has_value(frame[name]).sum()) for name in unknown)
            case Drift.DISCARD_ROW:
                for name in unknown:
                    refusals.add_mask(has_value(frame[name]), name, f"is a column that {self.name} does not know")
        return 0
