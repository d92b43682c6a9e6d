"""What is in one of pydantic's own schemas, at any depth."""

# ruff: noqa: ANN401, a document may be anything
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

__all__ = ["has_type", "keeps_zeros", "modules_in", "names_in", "reads_json_text"]


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


def names_in(schema: Any) -> frozenset[str]:
    """The names in one of pydantic's own schemas."""
    return frozenset(_names(schema))


def _names(schema: Any) -> Iterator[str]:
    match schema:
        case dict():
            if isinstance(fields := schema.get("fields"), dict):
                yield from map(str, fields)
            yield from (
                schema[key] for key in ("validation_alias", "alias", "name") if isinstance(schema.get(key), str)
            )
            for part in schema.values():
                yield from _names(part)
        case list() | tuple():
            for part in schema:
                yield from _names(part)
        case str():
            yield schema  # an alias within a list of choices; whatever else it is, it is the model's, not the row's
        case _:
            pass


def modules_in(schema: Any) -> frozenset[str]:
    """The modules of the Python functions in one of pydantic's own schemas."""
    return frozenset(_modules(schema))


def _modules(schema: Any) -> Iterator[str]:
    match schema:
        case dict():
            for part in schema.values():
                yield from _modules(part)
        case list() | tuple():
            for part in schema:
                yield from _modules(part)
        case partial():
            yield from _modules(schema.func)
        case _ if callable(schema) and not isinstance(schema, type):
            yield schema.__module__
        case _:
            pass
