"""One field's column: read, checked against the field's rules, and fitted into the table's column."""

import polars as pl

from rowledger.contract.column_fit import writes_json
from rowledger.contract.find_suspects import doubt_violations
from rowledger.contract.fit_value import doubt_texts
from rowledger.contract.kinds import NULL_REASON, Kind
from rowledger.contract.missing_columns import default_column, field_column
from rowledger.contract.read_column import read_column
from rowledger.contract.reading import Reading, blank
from rowledger.contract.refusals import Refusals
from rowledger.contract.rules import FieldRules
from rowledger.contract.target_types import as_frame_value, doubt_undeclared_digits, fit_column
from rowledger.contract.undeclared_columns import has_value
from rowledger.spec import DYNAMIC, ColumnType, Equals, Partition, Window

__all__ = ["check_conditions", "check_field"]


def check_field(rules: FieldRules, target: ColumnType, frame: pl.DataFrame, refusals: Refusals) -> pl.Series:
    """The field's column in the target's frame type, with the default for rows in which the source lacks it."""
    found = field_column(rules, frame)
    if found is None:
        return default_column(rules, target, pl.repeat(value=True, n=frame.height, eager=True), refusals)
    source, absent = found
    if absent is None or not absent.any():
        return _check_column(rules, target, source, refusals)
    column = _check_column(rules, target, source, refusals, absent)
    defaults = default_column(rules, target, absent, refusals)
    return pl.select(pl.when(absent).then(defaults).otherwise(column).alias(rules.name)).to_series()


def _check_column(
    rules: FieldRules, target: ColumnType, source: pl.Series, refusals: Refusals, absent: pl.Series | None = None
) -> pl.Series:
    """The column in the target's frame type; pydantic judges suspects, which are then refused or replaced."""
    if source.dtype == DYNAMIC and not has_value(source).all():
        source = blank(source, ~has_value(source))
    if not rules.column.nullable and source.null_count():
        nulls = source.is_null() if absent is None else source.is_null() & ~absent
        refusals.add_mask(nulls, rules.name, NULL_REASON)
    reading = _read(rules, target, source)
    for mask, reason in reading.refused:
        refusals.add_mask(mask, rules.name, reason)
    if reading.suspect is None:
        return reading.values.alias(rules.name)
    suspects = reading.suspect & source.is_not_null()
    for mask, _ in reading.refused:
        suspects = suspects & ~mask
    from rowledger.contract.settle_suspects import settle  # noqa: PLC0415, a clean column has none

    return settle(rules, target, source, suspects, reading.values, refusals).alias(rules.name)


def _read(rules: FieldRules, target: ColumnType, source: pl.Series) -> Reading:
    """The column as read at column speed; values that this cannot judge are suspects."""
    if source.null_count() == len(source):
        return Reading(pl.Series(dtype=target.frame_type).clear(len(source)))
    if writes_json(rules, target) or target.array or rules.by_value or source.dtype == DYNAMIC:
        from rowledger.contract.read_nested import read_nested  # noqa: PLC0415, few tables hold documents or lists

        return read_nested(rules, target, source)
    reading = read_column(rules, source)
    doubt_violations(rules, reading)
    doubt_undeclared_digits(rules, reading, target)
    reading.values = fit_column(reading, target)
    # An allowed text has no NUL; all other texts are suspects already.
    is_any_text = rules.kind is Kind.TEXT and (rules.allowed is None or any("\0" in text for text in rules.allowed))
    if is_any_text and (unheld := doubt_texts(reading.values, target)) is not None:
        reading.doubt(unheld)
    return reading


def check_conditions(
    rules: FieldRules, column: pl.Series, target: ColumnType, partition: Partition, refusals: Refusals
) -> None:
    """Refuse the rows whose value belongs to another partition, or to none."""
    conditions = partition.conditions_on(rules.name)
    if conditions and rules.column.nullable and column.null_count():
        refusals.add_mask(column.is_null(), column.name, "is null or refused, so the row belongs to no partition")
    for condition in conditions:
        match condition:
            case Window():
                lower, upper = condition.bounds(target.name)
                least, greatest = column.min(), column.max()
                if least is None or (least >= lower and greatest < upper):  # type: ignore[operator]
                    continue
                outside = (column < lower) | (column >= upper)
            case Equals():
                outside = column != as_frame_value(condition.value(target.name), target)
        refusals.add_mask(
            outside.fill_null(value=False), column.name, f"belongs to another partition than {partition.key}"
        )
