"""Types of columns that polars has no type for, marked by the name of a struct's only field."""

from typing import Any

import polars as pl

from rowledger.spec.nested_types import types_in
from rowledger.spec.source import RESERVED_PREFIX

__all__ = ["BYTES_16", "DECIMAL_TEXT", "DYNAMIC", "UUID", "holds_decimal_texts"]

DYNAMIC = pl.Struct({f"{RESERVED_PREFIX}json": pl.String()})
"""The type of a column whose values are of several types: the JSON text of each. The contract checks it value by value."""

UUID = pl.Struct({f"{RESERVED_PREFIX}uuid": pl.Binary()})
"""The type of a column of UUIDs, also inside lists and structs: their 16 bytes."""
BYTES_16 = pl.Struct({f"{RESERVED_PREFIX}16 bytes": pl.Binary()})
"""The same for values of 16 bytes that the source does not declare as UUIDs. A text field reads them as UUIDs."""
DECIMAL_TEXT = pl.Struct({f"{RESERVED_PREFIX}decimal": pl.String()})
"""The type of a column of decimals of several scales, also inside lists and structs: the digits of each (1, 1.500).

A column of `pl.Decimal` has one scale, which would turn 1 into 1.000.
"""


def holds_decimal_texts(dtype: Any) -> bool:  # noqa: ANN401, polars' stubs know too little of what a nested type holds
    """Whether the type contains DECIMAL_TEXT at any depth."""
    return DECIMAL_TEXT in types_in(dtype)
