"""Nested Python values: the parts inside, and changes of parts at any depth."""

# ruff: noqa: ANN401, a value may be anything

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["parts_in", "with_values"]


def parts_in(value: Any) -> Iterator[Any]:
    """The value and all parts inside it, without the keys of dicts."""
    yield value
    match value:
        case dict():
            inside: Any = value.values()
        case list() | tuple() | set() | frozenset():
            inside = value
        case _:
            return
    for part in inside:
        yield from parts_in(part)


def with_values(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value, with `change` applied to each part that is neither a list nor a dict."""
    match value:
        case list():
            return [with_values(item, change) for item in value]
        case dict():
            return {key: with_values(item, change) for key, item in value.items()}
        case _:
            return change(value)
