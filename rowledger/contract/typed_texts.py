"""Which columns of text may get a type before the contract sees them, without any change of what it makes of their values.

The contract reads a text of a plain form at column speed, and leaves other texts to pydantic. So a reader of text may convert a
column whose texts all have a plain form, in which a text stands for one value only.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl

from rowledger.contract.kinds import Kind
from rowledger.contract.rules import FieldRules
from rowledger.spec import INTEGER_LIMITS, ColumnType, Source, TypeName

__all__ = ["types_of_texts"]

_TARGETS: dict[Kind, set[TypeName]] = {
    Kind.BOOL: {TypeName.BOOLEAN},
    Kind.INT: set(INTEGER_LIMITS),
    Kind.FLOAT: {TypeName.DOUBLE, TypeName.REAL},
    Kind.DECIMAL: {TypeName.NUMERIC},
    Kind.DATE: {TypeName.DATE},
    Kind.TIMESTAMP: {TypeName.TIMESTAMP},
}
_TYPES: dict[Kind, pl.DataType] = {
    Kind.BOOL: pl.Boolean(), Kind.INT: pl.Int64(), Kind.FLOAT: pl.Float64(), Kind.DATE: pl.Date(),
    Kind.TIMESTAMP: pl.Datetime("us"),
}  # fmt: skip
_NUMBERS = {Kind.INT, Kind.FLOAT, Kind.DECIMAL}
_DATES = {Kind.DATE, Kind.TIMESTAMP}


def types_of_texts(
    rules: Sequence[FieldRules], targets: Mapping[str, ColumnType], source: Source
) -> dict[str, pl.DataType]:
    """The types that the source's columns may have; all others stay text. `targets` are the table's column types by name."""
    readers = Counter(name for rule in rules for name in rule.sources)
    types: dict[str, pl.DataType] = {}
    for rule in rules:
        target = targets.get(rule.name, rule.column.type)
        (name, *others) = rule.sources
        if others or readers[name] > 1 or not _is_plain(rule, target, source):
            continue
        if rule.kind is not Kind.DECIMAL:
            types[name] = _TYPES[rule.kind]
        elif _has_one_form(rule.column.type.frame_type, target.frame_type):
            types[name] = rule.column.type.frame_type
    return types


def _has_one_form(declared: pl.DataType, target: pl.DataType) -> bool:
    """Whether decimals of a field keep nothing of their texts but the value.

    Without declared digits, the zeros at the end are a part of it. Without digits before the point, pydantic counts a zero.
    """
    return isinstance(declared, pl.Decimal) and declared == target and declared.precision > declared.scale


def _is_plain(rule: FieldRules, target: ColumnType, source: Source) -> bool:
    """Whether the value for which a text stands is all that decides about it."""
    if rule.is_strict or rule.by_value or rule.allowed is not None or rule.alternatives:
        return False
    if rule.is_taken_charge_of or rule.validators or target.array or target.name not in _TARGETS.get(rule.kind, ()):
        return False
    is_rewritten = (rule.kind in _NUMBERS and source.number_format is not None) or (
        rule.kind in _DATES and bool(source.date_notations)
    )
    return not is_rewritten
