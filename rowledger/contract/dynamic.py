"""Columns whose values are of several types: the JSON text of each."""

import polars as pl

from rowledger.spec import BYTES_KEY, DYNAMIC

__all__ = ["BYTES_FOR_PEOPLE", "as_dynamic", "dynamic_texts"]

BYTES_FOR_PEOPLE = (f'{{"{BYTES_KEY}": ', '{"base64": ')
"""What is replaced in a JSON text, and by what, to have its bytes as payloads have them. Within a text quotes are escaped."""


def dynamic_texts(values: pl.Series) -> pl.Series:
    """The JSON text of each value of a DYNAMIC column; null where the value is null in either way."""
    texts = values.struct[0]
    is_null = texts.is_null() | values.is_null() | (texts.str.strip_chars() == "null").fill_null(value=True)
    return pl.select(pl.when(~is_null).then(texts).alias(values.name)).to_series()


def as_dynamic(values: pl.Series) -> pl.Series:
    """Any column as a DYNAMIC one, its values as a payload would have them."""
    if values.dtype == DYNAMIC:
        return values
    from rowledger.contract.payloads import json_texts  # noqa: PLC0415, a chunk without such a column needs none of it

    texts = pl.Series(json_texts(values, bytes_key=BYTES_KEY), dtype=pl.String)
    return pl.select(pl.struct(texts.alias(DYNAMIC.fields[0].name))).to_series().alias(values.name)
