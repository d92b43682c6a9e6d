"""The types that a polars type consists of."""

from collections.abc import Iterator
from typing import Any

import polars as pl

__all__ = ["types_in"]


def types_in(dtype: Any) -> Iterator[Any]:  # noqa: ANN401, polars' stubs know too little of what a nested type holds
    """The type and all types inside it."""
    yield dtype
    match dtype:
        case pl.List() | pl.Array():
            yield from types_in(dtype.inner)
        case pl.Struct():
            for field in dtype.fields:
                yield from types_in(field.dtype)
