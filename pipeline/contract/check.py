"""Check a source frame against a row model: one pass over columns, and a closer look at what stands out.

Reductions (minimum, maximum, longest, null count) come first; a mask over rows is built only where one of them says that
a column breaks a rule. Marked values go to pydantic, whose verdict counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pipeline.contract.compile import compile_model
from pipeline.contract.explain import judge, row_payloads
from pipeline.contract.read import Reading, read_column
from pipeline.contract.rules import Bound, FieldRules, Kind
from pipeline.contract.target import accepts, as_frame_value, fit_column, misfit
from pipeline.errors import SourceError, TargetMismatch
from pipeline.model.column import Column, ColumnType
from pipeline.model.partition import Partition
from pipeline.model.report import DeadLetter, Stage

__all__ = ["Checked", "Contract"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A frame after its check.

    `good` has the contract's columns in its order, in the target's frame types. `good_rows` holds the row_no of each good
    row; None means that no row was refused, so they run on from `first_row`.
    """

    good: pl.DataFrame
    good_rows: pl.Series | None
    rejected: list[DeadLetter]


class _Refusals:
    """Which rows are refused, and the reasons: a row keeps one for each column that breaks a rule."""

    def __init__(self) -> None:
        self._reasons: dict[int, list[tuple[str, str]]] = {}

    def add(self, row: int, column: str, reason: str) -> None:
        self._reasons.setdefault(row, []).append((column, reason))

    def add_mask(self, mask: pl.Series, column: str, reason: str) -> None:
        for row in mask.arg_true():
            self.add(row, column, reason)

    def __bool__(self) -> bool:
        return bool(self._reasons)

    def rows(self) -> list[int]:
        return sorted(self._reasons)

    def dead_letters(self, frame: pl.DataFrame, first_row: int) -> list[DeadLetter]:
        rows = self.rows()
        letters: list[DeadLetter] = []
        for row, payload in zip(rows, row_payloads(frame[rows]), strict=True):
            reasons = self._reasons[row]
            letters.append(
                DeadLetter(
                    row_no=first_row + row,
                    stage=Stage.CONTRACT,
                    reason="; ".join(f"{column}: {reason}" for column, reason in reasons),
                    payload=payload,
                    column=reasons[0][0],
                )
            )
        return letters


@dataclass(frozen=True)
class Contract:
    """A compiled row model."""

    name: str
    rules: tuple[FieldRules, ...]

    @staticmethod
    def of(row: type[BaseModel]) -> "Contract":
        """Compile a row model, once a process; raises ContractError."""
        return _compiled(row)

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(rule.column for rule in self.rules)

    def require_writable(self, types: Mapping[str, ColumnType]) -> None:
        """Raise TargetMismatch that lists every column whose type in the target can never hold it."""
        problems = [
            f"column {rule.name!r} is {types[rule.name].sql} in the table, but {self.name} declares it as {rule.kind} "
            f"({rule.column.type.sql})"
            for rule in self.rules
            if rule.name in types and not accepts(rule.kind, types[rule.name])
        ]
        if problems:
            raise TargetMismatch(f"{'; '.join(problems)}; alter the table or the row model")

    def check(
        self,
        frame: pl.DataFrame,
        *,
        types: Mapping[str, ColumnType] | None = None,
        bounds: Partition | None = None,
        first_row: int = 0,
    ) -> Checked:
        """Tell the good rows, cast to the target's types, from the refused ones.

        `types` are the table's actual column types by name, by default the contract's own. Rows whose partition column lies
        outside `bounds` are refused. `first_row` is the row_no of the frame's first row. Raises SourceError for columns that
        are unknown, missing or of a type that never fits, and TargetMismatch.
        """
        types = types or {}
        self.require_writable(types)
        self._require_columns(frame)
        refusals = _Refusals()
        columns: list[pl.Series] = []
        for rule in self.rules:
            target = types.get(rule.name, rule.column.type)
            if rule.name in frame.columns:
                column = _check_column(rule, target, frame[rule.name], refusals)
            else:
                column = _default_column(rule, target, frame.height)
            if bounds is not None and bounds.column == rule.name:
                _check_bounds(rule, column, target, bounds, refusals)
            columns.append(column)
        good = pl.DataFrame(columns)
        if not refusals:
            return Checked(good, None, [])
        keep = np.ones(frame.height, dtype=np.bool_)
        keep[refusals.rows()] = False
        good_rows = pl.Series("row_no", np.flatnonzero(keep) + first_row, dtype=pl.Int64)
        return Checked(good.filter(pl.Series(keep)), good_rows, refusals.dead_letters(frame, first_row))

    def _require_columns(self, frame: pl.DataFrame) -> None:
        known = {rule.name: rule for rule in self.rules}
        if unknown := [name for name in frame.columns if name not in known]:
            raise SourceError(
                f"the source has columns that {self.name} does not know: {unknown}; add them to the row model, "
                "or leave them out of the source"
            )
        present = set(frame.columns)
        if missing := [n for n, rule in known.items() if n not in present and rule.default is PydanticUndefined]:
            raise SourceError(
                f"the source lacks columns of {self.name}: {missing}; give their fields a default (= None takes nulls) "
                "or mend the source"
            )


@cache
def _compiled(row: type[BaseModel]) -> Contract:
    return Contract(row.__name__, compile_model(row))


def _check_column(rules: FieldRules, target: ColumnType, source: pl.Series, refusals: _Refusals) -> pl.Series:
    """The column in the target's frame type; suspects are judged, and refused or replaced."""
    reading = read_column(rules, source)
    if not rules.column.nullable and source.null_count():
        refusals.add_mask(source.is_null(), rules.name, "is null, but the column is not nullable")
    for mask, reason in reading.refused:
        refusals.add_mask(mask, rules.name, reason)
    _doubt_violations(rules, reading)
    fitted = fit_column(reading, target)
    if reading.suspect is None:
        return fitted.alias(rules.name)
    suspects = reading.suspect
    for mask, _ in reading.refused:
        suspects = suspects & ~mask
    rows, values = suspects.arg_true().to_list(), _python_values(source.filter(suspects))
    verdicts: dict[Any, Any] = {}
    replaced: list[tuple[int, Any]] = []
    for row, value in zip(rows, values, strict=True):
        # repr tells -0.0 from 0.0 and finds NaN again, which a float as a key does not.
        key = repr(value) if isinstance(value, float) else value
        if (verdict := verdicts.get(key)) is None:
            verdict = verdicts[key] = judge(rules, target, value)
        if verdict.reason is None:
            replaced.append((row, verdict.value))
        else:
            refusals.add(row, rules.name, verdict.reason)
    if replaced:
        patch = pl.Series([value for _, value in replaced], dtype=target.frame_type)
        fitted = _patched(fitted, [row for row, _ in replaced], patch)
    return fitted.alias(rules.name)


def _default_column(rules: FieldRules, target: ColumnType, rows: int) -> pl.Series:
    """A column that the source lacks, filled with its declared default."""
    value = None if rules.default is None else as_frame_value(rules.default, target)
    if value is not None and (reason := misfit(value, target)) is not None:
        raise TargetMismatch(f"column {rules.name!r}: the default {value!r} {reason}; alter the table or the row model")
    return pl.Series(rules.name, [value], dtype=target.frame_type).new_from_index(0, rows)


def _python_values(values: pl.Series) -> list[Any]:
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    return values.to_list()


def _patched(values: pl.Series, rows: list[int], patch: pl.Series) -> pl.Series:
    """The values with those at `rows` replaced, whatever their type."""
    take = np.arange(len(values))
    take[rows] = np.arange(len(values), len(values) + len(patch))
    extended: pl.Series = pl.concat([values.alias(""), patch.alias("")])
    return extended.gather(take)


def _doubt_violations(rules: FieldRules, reading: Reading) -> None:
    """Mark the values that seem to break a bound, a length, a step, a pattern or a list of allowed values."""
    values = reading.values
    if values.null_count() == len(values):
        return
    for bound in rules.bounds:
        extreme = values.min() if bound.op in ("ge", "gt") else values.max()
        if not bound.holds(extreme):
            reading.doubt(_outside(values, bound) & values.is_not_null())
    if rules.multiple_of is not None:
        reading.doubt((values % rules.multiple_of != 0) & values.is_not_null())
    if rules.min_length is not None or rules.max_length is not None:
        _doubt_lengths(rules, reading)
    if rules.pattern is not None:
        matching = values.str.contains(rules.pattern)
        if not matching.all():
            reading.doubt(~matching & values.is_not_null())
    if rules.allowed is not None:
        allowed = values.is_in(list(rules.allowed))
        if not allowed.all():
            reading.doubt(~allowed & values.is_not_null())


def _outside(values: pl.Series, bound: Bound) -> pl.Series:
    """Which values break the bound; all, when polars cannot compare with it, so that pydantic decides."""
    try:
        match bound.op:
            case "ge":
                inside: pl.Series = values >= bound.value
            case "gt":
                inside = values > bound.value
            case "le":
                inside = values <= bound.value
            case "lt":
                inside = values < bound.value
    except (pl.exceptions.PolarsError, OverflowError, TypeError):
        return pl.repeat(value=True, n=len(values), eager=True)
    return ~inside


def _doubt_lengths(rules: FieldRules, reading: Reading) -> None:
    values = reading.values
    lengths = values.str.len_chars() if rules.kind is Kind.TEXT else values.bin.size()
    if rules.min_length is not None and lengths.min() < rules.min_length:  # type: ignore[operator]
        reading.doubt((lengths < rules.min_length) & values.is_not_null())
    if rules.max_length is not None and lengths.max() > rules.max_length:  # type: ignore[operator]
        reading.doubt((lengths > rules.max_length) & values.is_not_null())


def _check_bounds(
    rules: FieldRules, column: pl.Series, target: ColumnType, partition: Partition, refusals: _Refusals
) -> None:
    limits = partition.bounds(target.name)
    if limits is None:
        return
    if rules.column.nullable and column.null_count():
        refusals.add_mask(column.is_null(), column.name, "is null or refused, so the row belongs to no partition")
    lower, upper = limits
    least, greatest = column.min(), column.max()
    if least is not None and (least < lower or greatest >= upper):  # type: ignore[operator]
        outside = ((column < lower) | (column >= upper)).fill_null(value=False)
        refusals.add_mask(outside, column.name, f"belongs to another partition than {partition.key}")
