"""Columns that a source lacks, wholly or in some rows: another name of the field, its default, or a refusal replaces them."""

import polars as pl
from pydantic_core import PydanticUndefined

from rowledger.contract.fit_value import fit_value
from rowledger.contract.refusals import Refusals
from rowledger.contract.rules import FieldRules
from rowledger.errors import TargetMismatch
from rowledger.spec import ABSENT_PREFIX, ColumnType

__all__ = ["ABSENT_REASON", "default_column", "field_column"]


def field_column(rules: FieldRules, frame: pl.DataFrame) -> tuple[pl.Series, pl.Series | None] | None:
    """The field's source column, and a mask of the rows that lack it; None if the source does not have it.

    If a field may have several names in the source, the first that a row has counts, as in pydantic.
    """
    names = [name for name in rules.sources if name in frame.columns]
    if not names:
        return None
    values, absent = _with_absence(frame, names[0])
    for name in names[1:]:
        if absent is None or not absent.any():
            break
        others, others_absent = _with_absence(frame, name)
        if values.dtype != others.dtype:
            from rowledger.contract.write_payloads import as_dynamic  # noqa: PLC0415, few fields have two such names

            values, others = as_dynamic(values), as_dynamic(others)
        values = pl.select(pl.when(absent).then(others).otherwise(values)).to_series()
        absent = None if others_absent is None else absent & others_absent
    return values.alias(rules.name), absent


def _with_absence(frame: pl.DataFrame, name: str) -> tuple[pl.Series, pl.Series | None]:
    mask = ABSENT_PREFIX + name
    return frame[name], frame[mask].fill_null(value=False) if mask in frame.columns else None


ABSENT_REASON = "Field required [missing]: give the field a default if the source may lack the column"


def default_column(rules: FieldRules, target: ColumnType, absent: pl.Series, refusals: Refusals) -> pl.Series:
    """A column of the field's default, for the rows in `absent`; without a default they are refused."""
    if rules.default is PydanticUndefined:
        refusals.add_mask(absent, rules.name, ABSENT_REASON)
        return pl.Series(rules.name, dtype=target.frame_type).clear(len(absent))
    verdict = fit_value(rules, target, rules.default)
    if verdict.reason is not None:
        raise TargetMismatch(
            f"column {rules.name!r}: the default {rules.default!r} {verdict.reason}; alter the table or the row model"
        )
    return pl.Series(rules.name, [verdict.value], dtype=target.frame_type).new_from_index(0, len(absent))
