"""What is in one of pydantic's own schemas, at any depth."""

# ruff: noqa: ANN401, a document may be anything

from collections.abc import Collection
from typing import Any

__all__ = ["has_type", "keeps_zeros", "reads_json_text"]


def keeps_zeros(schema: Any) -> bool:
    """Whether numbers of one of pydantic's own schemas stand where it takes anything, so that jsonb can keep 1.10."""
    return has_type(schema, {"any"}) and not has_type(schema, {"float"})


def reads_json_text(schema: Any) -> bool:
    """Whether one of pydantic's own schemas has a `Json` in it, at any depth."""
    return has_type(schema, {"json"})


def has_type(schema: Any, types: Collection[str]) -> bool:
    """Whether one of pydantic's own schemas has one of these types in it, at any depth."""
    match schema:
        case dict():
            return schema.get("type") in types or any(has_type(part, types) for part in schema.values())
        case list() | tuple():
            return any(has_type(part, types) for part in schema)
        case _:
            return False
