"""Bytes in a document whose field takes anything: {"base64": "…"}, as in payloads, whatever the source.

JSON has no bytes. Pydantic writes bytes that are UTF-8 as a text, indistinguishable from other texts, and refuses the rest.
"""

# ruff: noqa: ANN401, a document may be anything

import base64
import copy
import dataclasses
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter

from rowledger.contract.core_schema import has_type

__all__ = ["takes_bytes_as_anything", "with_base64"]


@cache
def takes_bytes_as_anything(adapter: TypeAdapter[Any]) -> bool:
    """Whether bytes in the adapter's values can only be in places where the row model takes anything."""
    return has_type(adapter.core_schema, {"any"}) and not has_type(adapter.core_schema, {"bytes"})


def with_base64(value: Any) -> Any:  # noqa: PLR0911, one line per type
    """The value with its bytes, at any depth, as such objects; the value itself if it has none."""
    match value:
        case bytes() | bytearray():
            return {"base64": base64.b64encode(value).decode("ascii")}
        case str() | int() | float() | None:
            return value
        case dict():
            changed = _changed(value)
            return {**value, **changed} if changed else value
        case list() | tuple():
            items = [with_base64(item) for item in value]
            return items if any(made is not item for made, item in zip(items, value, strict=True)) else value
        case AbstractSet() if any(isinstance(item, bytes | tuple) for item in value):
            return [
                with_base64(item) for item in sorted(value, key=repr)
            ]  # a list, because a set cannot hold an object
        case BaseModel():
            changed = _changed({**value.__dict__, **(value.model_extra or {})})
            return value.model_copy(update=changed) if changed else value
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            copied = copy.copy(value)
            for name, item in _changed(vars(value)).items():
                object.__setattr__(copied, name, item)
            return copied
        case _:
            return value


def _changed(items: dict[Any, Any]) -> dict[Any, Any]:
    made = {name: with_base64(item) for name, item in items.items()}
    return {name: item for name, item in made.items() if item is not items[name]}
