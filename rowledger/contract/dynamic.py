"""Columns whose values are of several types: the JSON text of each, and its Python value."""

# ruff: noqa: ANN401, a value may be anything

import base64
from typing import Any

import polars as pl

from rowledger.contract.document_numbers import RepeatedKey, parse_json
from rowledger.spec import BYTES_KEY

__all__ = ["BYTES_FOR_PEOPLE", "PEOPLES_BYTES_KEY", "Unreadable", "dynamic_texts", "parse_dynamic", "with_bytes"]

PEOPLES_BYTES_KEY = "base64"
BYTES_FOR_PEOPLE = (f'{{"{BYTES_KEY}": ', f'{{"{PEOPLES_BYTES_KEY}": ')
"""The replacement, in a JSON text, that gives bytes the form of payloads. It cannot hit a string, whose quotes are escaped."""


def dynamic_texts(values: pl.Series) -> pl.Series:
    """The JSON text of each value of a DYNAMIC column; null for a null and for the JSON text null."""
    texts = values.struct[0]
    is_null = texts.is_null() | values.is_null() | (texts.str.strip_chars() == "null").fill_null(value=True)
    return pl.select(pl.when(~is_null).then(texts).alias(values.name)).to_series()


class Unreadable:
    """Replaces a value whose JSON cannot be read without loss, and says why.

    It is not a dataclass: pydantic would take it for one of the user's, and write it.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason


def parse_dynamic(text: str, *, exact: bool, zeros: bool = False) -> Any:
    """The value of a JSON text of a DYNAMIC column, with its bytes.

    Fractions are Decimal if `exact`, if a double would lose digits, and with `zeros` if it would lose trailing zeros.
    """
    try:
        value = parse_json(text, exact=exact, zeros=zeros)
    except RepeatedKey:
        return Unreadable("is JSON that has a key twice")
    except (ValueError, RecursionError):
        return Unreadable("is JSON that cannot be read: it is nested too deeply, or has a number of too many digits")
    return with_bytes(value, key=BYTES_KEY) if BYTES_KEY in text else value


def with_bytes(value: Any, *, key: str = PEOPLES_BYTES_KEY) -> Any:
    """The parsed value, in which objects in the payloads' form of bytes, at any depth, are bytes."""
    match value:
        case dict() if isinstance(made := _bytes_of(value, key), bytes):
            return made
        case dict():
            return {name: with_bytes(item, key=key) for name, item in value.items()}
        case list():
            return [with_bytes(item, key=key) for item in value]
        case _:
            return value


def _bytes_of(value: dict[str, Any], key: str) -> Any:
    try:
        return base64.b64decode(value[key], validate=True) if value.keys() == {key} else value
    except (TypeError, ValueError):
        return value
