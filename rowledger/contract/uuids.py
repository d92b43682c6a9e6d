"""UUIDs and other values of 16 fixed bytes, which a source marks: bytes for fields of bytes and UUIDs, text for all others.

Without the mark, a text field would read the bytes as characters.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from rowledger.contract.kinds import Kind
from rowledger.contract.rules import FieldRules
from rowledger.spec import BYTES_16, UUID, types_in

__all__ = ["holds_uuids", "uuids_for_fields", "uuids_for_people"]

_GROUPS = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))


def holds_uuids(dtype: pl.DataType) -> bool:
    """Whether the type contains such values at any depth."""
    return any(part in (UUID, BYTES_16) for part in types_in(dtype))


def uuids_for_fields(frame: pl.DataFrame, rules: Sequence[FieldRules]) -> pl.DataFrame:
    """The frame with such values in the form that the fields take; they are text in columns that no field declares."""
    return _resolved_in(frame, {source: rule for rule in rules for source in rule.sources}, otherwise_text=True)


def uuids_for_people(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with UUIDs as text and other values of 16 bytes as bytes, for payloads and transforms."""
    return _resolved_in(frame, {}, otherwise_text=False)


def _resolved_in(frame: pl.DataFrame, rules: Mapping[str, FieldRules], *, otherwise_text: bool) -> pl.DataFrame:
    resolved = [
        _resolved(pl.col(name), dtype, rules.get(name), otherwise_text=otherwise_text).alias(name)
        for name, dtype in frame.schema.items()
        if holds_uuids(dtype)
    ]
    return frame.with_columns(resolved) if resolved else frame


def _resolved(expr: pl.Expr, dtype: Any, rules: FieldRules | None, *, otherwise_text: bool) -> pl.Expr:  # noqa: ANN401, as above
    """If `otherwise_text`, 16 bytes become text if they are not marked as a UUID and no field takes them as bytes."""
    match dtype:
        case _ if dtype in (UUID, BYTES_16):
            content = expr.struct.field(dtype.fields[0].name)
            wants_bytes = rules is not None and not rules.by_value and rules.kind in {Kind.BYTES, Kind.UUID}
            return content if wants_bytes or (dtype == BYTES_16 and not otherwise_text) else _text(content)
        case pl.List() | pl.Array() if holds_uuids(dtype):
            lists = expr.arr.to_list() if isinstance(dtype, pl.Array) else expr
            element = None if rules is None else rules.element
            return lists.list.eval(_resolved(pl.element(), dtype.inner, element, otherwise_text=otherwise_text))
        case pl.Struct() if holds_uuids(dtype):
            members = {m.sources[0]: m for m in (rules.members or ()) if m.sources} if rules is not None else {}
            fields = [
                _resolved(
                    expr.struct.field(field.name), field.dtype, members.get(field.name), otherwise_text=otherwise_text
                ).alias(field.name)
                for field in dtype.fields
            ]
            return pl.when(expr.is_not_null()).then(pl.struct(fields))
    return expr


def _text(content: pl.Expr) -> pl.Expr:
    digits = content.bin.encode("hex")
    return pl.concat_str([digits.str.slice(start, length) for start, length in _GROUPS], separator="-")
