"""One value that pydantic validated, converted to what the target's column holds: exactly, or not at all.

Every value that is validated on its own passes through here.
"""

# ruff: noqa: ANN401, the row model decides what a value may be

import json
import math
import re
from collections.abc import Collection, Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
from pydantic_core import PydanticSerializationError

from rowledger.contract.column_fit import writes_json
from rowledger.contract.document_bytes import takes_bytes_as_anything, with_base64
from rowledger.contract.document_numbers import has_repeated_key, may_have_exact_numbers, with_exact_numbers
from rowledger.contract.kinds import BEYOND_INTEGERS, EXACT_INTEGER_MAX, NULL_REASON, Kind
from rowledger.contract.nested_values import parts_in
from rowledger.contract.rules import FieldRules
from rowledger.contract.target_types import as_frame_value, misfit
from rowledger.spec import INTEGER_LIMITS, ColumnType, TypeName

__all__ = ["FittedValue", "doubt_nul", "doubt_texts", "fit_value"]

NUL_REASON = "has a NUL character, which PostgreSQL's text cannot hold"

SURROGATE_REASON = "has half a surrogate pair, which is no character"
_IN_VIEW_BYTES_MAX = 12  # of a text that Arrow keeps in its view
_SURROGATE = re.compile("[\ud800-\udfff]")
_NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_REPLACEMENT = "\ufffd"  # pydantic silently writes it in a key for half a surrogate pair

# The Python types that each column takes without a conversion beyond pydantic's.
_HELD: dict[TypeName, tuple[type, ...]] = {
    TypeName.BOOLEAN: (bool,),
    **dict.fromkeys(INTEGER_LIMITS, (int,)),
    TypeName.REAL: (float, int),
    TypeName.DOUBLE: (float, int),
    TypeName.NUMERIC: (Decimal, int),
    TypeName.BYTEA: (bytes,),
    TypeName.UUID: (UUID,),
    TypeName.DATE: (date,),
    TypeName.TIME: (time,),
    TypeName.TIMESTAMP: (datetime,),
    TypeName.TIMESTAMPTZ: (datetime,),
    TypeName.INTERVAL: (timedelta,),
    TypeName.INET: (IPv4Address, IPv6Address, IPv4Network, IPv6Network),
    TypeName.CIDR: (IPv4Network, IPv6Network),
}
_PLAIN = (bool, int, float, str, bytes, Decimal, date, time, timedelta, UUID, list, tuple, dict, AbstractSet)


@dataclass(frozen=True, slots=True)
class FittedValue:
    """Either a value in the target's frame type, or the reason why the column cannot hold it."""

    value: Any = None
    reason: str | None = None


def fit_value(rules: FieldRules, target: ColumnType, valid: Any) -> FittedValue:
    """A valid value, as the column holds it."""
    if valid is None:
        return FittedValue() if rules.column.nullable else FittedValue(reason=NULL_REASON)
    if writes_json(rules, target):
        return _json_text(rules, target, valid)
    if target.array:
        return _fit_items(rules, target, valid)
    if isinstance(valid, Enum):
        valid = valid.value
    if not _is_held(valid, target) and not isinstance(valid, _PLAIN):
        try:
            # Other types, such as a URL or a path, are written as pydantic writes them, if the column takes the result.
            valid = rules.adapter.dump_python(valid, mode="json", warnings=False)
        except (PydanticSerializationError, ValueError):
            valid = None
    if not _is_held(valid, target):
        return FittedValue(reason=f"is validated into something that is no {target.sql}")
    return _fit_scalar(valid, target)


def doubt_nul(values: pl.Series) -> pl.Series | None:
    """The texts that contain a NUL character, as a mask; None if there is none.

    All bytes are looked at together first, where they are: searching text by text takes several times as long.
    """
    if not len(values) or not _may_hold_nul(values):
        return None
    found = values.str.contains("\0", literal=True)
    return found.fill_null(value=False) if found.any() else None


def _may_hold_nul(values: pl.Series) -> bool:
    """Whether a NUL is in the bytes of a column of texts, including those of which it shows none.

    A text of up to 12 bytes is in its view, behind its length and filled up with NULs; longer ones are in buffers of their own.
    """
    array = values.to_arrow(compat_level=pl.CompatLevel.newest())
    views, *contents = (memoryview(buffer) for buffer in array.buffers()[1:] if buffer is not None)
    if any(np.frombuffer(content, np.uint8).min(initial=255) == 0 for content in contents):
        return True
    words = np.frombuffer(views, np.int32).reshape(-1, 4)[array.offset : array.offset + len(array)]
    lengths = words[:, 0]
    if contents:
        is_inside = lengths <= _IN_VIEW_BYTES_MAX
        words, lengths = words[is_inside], lengths[is_inside]
    octets = np.ascontiguousarray(words).view(np.uint8)
    # Of a length from 1 to 12, one byte is not NUL.
    return bool(np.count_nonzero(octets) != lengths.sum(dtype=np.int64) + np.count_nonzero(lengths))


def doubt_texts(values: pl.Series, target: ColumnType) -> pl.Series | None:
    """The texts that the column cannot hold whole, as a mask; None if there is none."""
    doubted = doubt_nul(values)
    if target.name is TypeName.JSONB:
        repeated = pl.Series([text is not None and _repeated_key(text) is not None for text in values.to_list()])
        doubted = repeated if doubted is None else doubted | repeated
    return doubted


def _unheld_text(text: str, target: ColumnType) -> str | None:
    if "\0" in text:
        return NUL_REASON
    if _SURROGATE.search(text):
        return SURROGATE_REASON
    return _repeated_key(text) if target.name is TypeName.JSONB else None


def _repeated_key(text: str) -> str | None:
    """Why jsonb would not keep all values of a JSON text; None if it would."""
    try:
        return "is JSON that has a key twice" if has_repeated_key(text) else None
    except RecursionError:
        return "is JSON that is nested too deeply to be looked through for a key that comes twice"


def _fit_scalar(valid: Any, target: ColumnType) -> FittedValue:
    if isinstance(valid, datetime | time) and (valid.tzinfo is not None) != (target.name is TypeName.TIMESTAMPTZ):
        negation = "" if target.name is TypeName.TIMESTAMPTZ else "not "
        return FittedValue(reason=f"Input should {negation}have a time zone for a {target.sql}")
    if isinstance(valid, str) and (reason := _unheld_text(valid, target)) is not None:
        return FittedValue(reason=reason)
    if target.name in {TypeName.REAL, TypeName.DOUBLE} and isinstance(valid, int):
        if abs(valid) > EXACT_INTEGER_MAX:
            return FittedValue(reason=BEYOND_INTEGERS)
        valid = float(valid)
    elif target.name is TypeName.NUMERIC:
        valid = Decimal(valid)
    try:
        converted = as_frame_value(valid, target)
    except OverflowError:  # an instant that Python holds in its own zone but not in UTC
        return FittedValue(reason="is outside the years 1 to 9999 in UTC")
    reason = misfit(converted, target)
    return FittedValue(value=converted) if reason is None else FittedValue(reason=reason)


def _fit_items(rules: FieldRules, target: ColumnType, valid: Any) -> FittedValue:
    element = target.element
    if isinstance(valid, AbstractSet):  # sorted, or each attempt would write another array
        valid = sorted(valid, key=lambda item: (item is None, str(type(item)), item if item is not None else 0))
    if isinstance(valid, str | bytes | dict) or not hasattr(valid, "__iter__"):
        return FittedValue(reason=f"is validated into something that is no {target.sql}")
    items: list[Any] = []
    inner = rules.element or replace(rules, kind=Kind.ANY)
    for item in valid:
        verdict = FittedValue() if item is None else fit_value(inner, element, item)
        if verdict.reason is not None:
            return verdict
        items.append(verdict.value)
    return FittedValue(value=items)


def _json_text(rules: FieldRules, target: ColumnType, valid: Any) -> FittedValue:
    if takes_bytes_as_anything(rules.adapter):
        valid = with_base64(valid)
    try:
        text = rules.adapter.dump_json(valid, warnings=False).decode()
    except (PydanticSerializationError, ValueError):
        return FittedValue(reason=SURROGATE_REASON if _holds_surrogate(valid) else "cannot be written as JSON")
    if _REPLACEMENT in text and _holds_surrogate(rules.adapter.dump_python(valid, warnings=False)):
        return FittedValue(reason=SURROGATE_REASON)
    if "null" in text and _lost_not_finite(rules.adapter.dump_python(valid, warnings=False), json.loads(text)):
        return FittedValue(reason="holds NaN or an infinity, which would become null in JSON")
    if may_have_exact_numbers(text):
        exact = with_exact_numbers(text, rules.adapter.dump_python(valid, warnings=False))
        if exact is None:
            return FittedValue(reason="holds NaN or an infinity, which JSON does not have")
        text = exact
    if target.name is TypeName.JSONB and "\\u0000" in text and _NUL_ESCAPE.search(text):
        return FittedValue(reason=NUL_REASON)
    return FittedValue(value=text)


def _holds_surrogate(value: Any) -> bool:
    """Whether a text in the value, or in a key of a dict, has half a surrogate pair."""
    return any(
        any(map(_holds_surrogate, part))
        if isinstance(part, dict)
        else isinstance(part, str) and _SURROGATE.search(part)
        for part in parts_in(value)
    )


def _lost_not_finite(value: Any, written: Any) -> bool:
    """Whether NaN or an infinity became null; a model's settings may write them as numbers or texts instead."""
    if isinstance(value, float):
        return written is None and not math.isfinite(value)
    if isinstance(value, dict):
        value, written = value.values(), written.values() if isinstance(written, dict) else ()
    elif isinstance(value, str | bytes | bytearray) or not isinstance(value, Collection):
        return False
    if not isinstance(written, Collection) or len(value) != len(written):
        written = (None,) * len(value)  # a custom serializer wrote another structure
    return any(_lost_not_finite(item, made) for item, made in zip(value, written, strict=True))


def _is_held(value: Any, target: ColumnType) -> bool:
    types = _HELD.get(target.name, (str,))
    if isinstance(value, bool):
        return bool in types
    if isinstance(value, datetime):
        return datetime in types
    return isinstance(value, types)
