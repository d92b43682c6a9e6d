"""Searches of one of pydantic's core schemas, at any depth."""

# ruff: noqa: ANN401, a pydantic schema holds anything

from collections.abc import Collection
from functools import partial
from typing import Any

from rowledger.contract.nested_values import parts_in

__all__ = ["has_type", "keeps_zeros", "modules_in", "names_in", "reads_json_text"]


def has_type(schema: Any, types: Collection[str]) -> bool:
    """Whether the schema contains one of these types."""
    return any(isinstance(part, dict) and part.get("type") in types for part in parts_in(schema))


def keeps_zeros(schema: Any) -> bool:
    """Whether the schema's numbers are in places that take anything, so that jsonb can keep 1.10."""
    return has_type(schema, {"any"}) and not has_type(schema, {"float"})


def reads_json_text(schema: Any) -> bool:
    """Whether the schema contains a `Json`."""
    return has_type(schema, {"json"})


def names_in(schema: Any) -> frozenset[str]:
    """The schema's field names, aliases and all other texts, which come from the model and never from a row."""
    parts = list(parts_in(schema))
    fields = (part["fields"] for part in parts if isinstance(part, dict) and isinstance(part.get("fields"), dict))
    return frozenset(part for part in parts if isinstance(part, str)).union(*(map(str, names) for names in fields))


def modules_in(schema: Any) -> frozenset[str]:
    """The modules of the schema's Python functions."""
    functions = (part.func if isinstance(part, partial) else part for part in parts_in(schema))
    found = (getattr(part, "__module__", None) for part in functions if callable(part) and not isinstance(part, type))
    return frozenset(module for module in found if isinstance(module, str))  # a method of a builtin type has none
