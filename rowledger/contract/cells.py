"""A source's cells as the Python values that pydantic gets, and the cells that Python cannot hold."""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rowledger.contract.core_schema import has_type, keeps_zeros
from rowledger.contract.decimal_texts import python_cells
from rowledger.contract.document_numbers import marked
from rowledger.contract.durations import with_one_sign
from rowledger.contract.dynamic import dynamic_texts, parse_dynamic, with_bytes
from rowledger.contract.kinds import Kind
from rowledger.contract.nested_values import with_values
from rowledger.contract.read_times import holds_times, unheld
from rowledger.contract.rules import FieldRules
from rowledger.contract.written_zones import with_full_zone
from rowledger.spec import ABSENT_PREFIX, DYNAMIC, RESERVED_PREFIX, ColumnType, TypeName

__all__ = ["ABSENT", "field_values", "flattened", "holds_decimals", "python_rows", "rows_of", "unheld_cells"]


def holds_decimals(rules: FieldRules) -> bool:
    """Whether the field needs all digits of a fraction, including trailing zeros. A text may be made of a number."""
    element = {rules.element.kind} if rules.element is not None else set()
    is_decimal = bool({Kind.DECIMAL, Kind.TEXT} & ({rules.kind, *rules.alternatives} | element))
    return is_decimal or has_type(rules.adapter.core_schema, {"decimal"})


def _python_values(source: pl.Series, *, exact: bool = False, zeros: bool = False) -> list[Any]:
    """The cells as Python values. A DYNAMIC column's JSON is parsed; if `exact`, its fractions become Decimal."""
    if source.dtype == DYNAMIC:
        texts = dynamic_texts(source)
        return [None if text is None else parse_dynamic(text, exact=exact, zeros=zeros) for text in texts]
    if isinstance(source.dtype, pl.Categorical | pl.Enum):
        source = source.cast(pl.String)
    return python_cells(source)


def field_values(rules: FieldRules, target: ColumnType, source: pl.Series) -> list[Any]:
    """The cells as Python values for that field; if it takes anything, decimals are ExactNumber."""
    is_document = rules.kind in {Kind.JSON, Kind.ANY} and not rules.is_taken_charge_of
    values = _values_for(rules, target, source, zeros=is_document and keeps_zeros(rules.adapter.core_schema))
    if is_document:
        return [marked(value) for value in values]
    return values


def _row_values(rules: FieldRules | None, source: pl.Series) -> list[Any]:
    """The cells as Python values for a field of a row model's instance, or, without rules, for no field."""
    return _python_values(source) if rules is None else _values_for(rules, rules.column.type, source)


def _values_for(rules: FieldRules, target: ColumnType, source: pl.Series, *, zeros: bool = False) -> list[Any]:
    values = _python_values(source, exact=holds_decimals(rules), zeros=zeros)
    if source.dtype == DYNAMIC and _takes_bytes(rules, target):
        return [with_bytes(value) for value in values]
    innermost = rules
    while innermost.element is not None:
        innermost = innermost.element
    if innermost.kind is Kind.INTERVAL:
        return [with_values(value, with_one_sign) for value in values]
    if innermost.kind is Kind.TIMESTAMPTZ and not rules.is_taken_charge_of:
        return [with_values(value, with_full_zone) for value in values]
    if innermost.is_strict and not rules.is_taken_charge_of and (members := _members(rules.adapter.core_schema)):
        return [with_values(value, lambda part: members.get((type(part), part), part)) for value in values]
    return values


def _members(schema: Mapping[str, Any]) -> dict[tuple[type, Any], Enum]:
    """The members of an Enum by their values. A strict field takes only members, while a source has their values."""
    while schema.get("type") in {"nullable", "list", "default", "definitions", "function-after"}:
        schema = schema["items_schema" if schema["type"] == "list" else "schema"]
    members = schema["members"] if schema.get("type") == "enum" else ()
    return {(type(member.value), member.value): member for member in members}


def _takes_bytes(rules: FieldRules, target: ColumnType) -> bool:
    """Whether the field takes bytes. If so, an object in a payload's form of bytes is bytes; otherwise it is the source's."""
    return target.name is TypeName.BYTEA or has_type(rules.adapter.core_schema, {"bytes", "uuid"})


def unheld_cells(source: pl.Series) -> list[tuple[pl.Series, str]]:
    """The cells that Python cannot hold at any depth (nanoseconds, the year 10000), as masks with reasons."""
    if not holds_times(source.dtype):
        return []
    match source.dtype:
        case pl.List() | pl.Array():
            flat, row_of, _ = flattened(source)
            return [(rows_of(mask, row_of, len(source)), reason) for mask, reason in unheld_cells(flat)]
        case pl.Struct():
            return [found for field in source.struct.unnest().get_columns() for found in unheld_cells(field)]
        case _:
            return unheld(source)


def flattened(source: pl.Series) -> tuple[pl.Series, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All items of all lists, the row of each item, and the offsets at which lists begin and end among the items."""
    lists = source.arr.to_list() if isinstance(source.dtype, pl.Array) else source
    lengths = lists.list.len().fill_null(0).cast(pl.Int64).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    row_of = np.repeat(np.arange(len(lists)), lengths)
    return lists.explode(empty_as_null=False, keep_nulls=False), row_of, offsets


def rows_of(mask: pl.Series, row_of: npt.NDArray[np.int64], rows: int) -> pl.Series:
    """A mask of the rows that hold a marked item."""
    marked = np.zeros(rows, dtype=np.bool_)
    marked[row_of[mask.fill_null(value=True).to_numpy()]] = True
    return pl.Series(marked)


ABSENT = object()


def python_rows(source: pl.DataFrame, rules: Sequence[FieldRules]) -> Iterator[dict[str, Any]]:
    """Each row as pydantic takes it, without reserved columns and without fields that the row does not have."""
    fields = {name: rule for rule in rules for name in rule.sources}
    names = [name for name in source.columns if not name.startswith(RESERVED_PREFIX)]
    cells = [_row_values(fields.get(name), source[name]) for name in names]
    for index, name in enumerate(names):
        if (mask := ABSENT_PREFIX + name) in source.columns:
            cells[index] = [ABSENT if lacks else value for value, lacks in zip(cells[index], source[mask], strict=True)]
    for values in zip(*cells, strict=True):
        yield {name: value for name, value in zip(names, values, strict=True) if value is not ABSENT}
