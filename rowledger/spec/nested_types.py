"""Nested types of polars: the types inside, and changes of types and columns at any depth."""

# ruff: noqa: ANN401, polars' stubs know too little of what a nested type holds

from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

__all__ = ["types_in", "with_parts", "with_types"]


def types_in(dtype: Any) -> Iterator[Any]:
    """The type and all types inside it."""
    yield dtype
    match dtype:
        case pl.List() | pl.Array():
            yield from types_in(dtype.inner)
        case pl.Struct():
            for field in dtype.fields:
                yield from types_in(field.dtype)
        case pl.Map():
            yield from types_in(dtype.key)
            yield from types_in(dtype.value)


def with_types(dtype: Any, change: Callable[[Any], Any]) -> Any:
    """The type, with `change` applied to each type inside it that is not nested itself."""
    match dtype:
        case pl.List():
            return pl.List(with_types(dtype.inner, change))
        case pl.Array():
            return pl.Array(with_types(dtype.inner, change), dtype.size)
        case pl.Struct():
            return pl.Struct({field.name: with_types(field.dtype, change) for field in dtype.fields})
    return change(dtype)


def with_parts(
    expr: pl.Expr, dtype: Any, is_wanted: Callable[[Any], bool], change: Callable[[pl.Expr, Any], pl.Expr]
) -> pl.Expr:
    """A column of that type, with `change` applied to its parts of the wanted types; arrays around them become lists."""
    if is_wanted(dtype):
        return change(expr, dtype)
    if not any(map(is_wanted, types_in(dtype))):
        return expr
    match dtype:
        case pl.List():
            return expr.list.eval(with_parts(pl.element(), dtype.inner, is_wanted, change))
        case pl.Array():
            return with_parts(expr.arr.to_list(), pl.List(dtype.inner), is_wanted, change)
        case pl.Struct():
            fields = [
                with_parts(expr.struct.field(field.name), field.dtype, is_wanted, change).alias(field.name)
                for field in dtype.fields
            ]
            return pl.when(expr.is_not_null()).then(pl.struct(fields))
    return expr
