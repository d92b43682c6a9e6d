"""Zones of timestamps that PostgreSQL and other programs write in short, as pydantic reads them.

PostgreSQL writes `2024-01-01 00:00:00+00`, Ruby and Git `+0000` after a blank, BigQuery `UTC`. None of them has a second
meaning.
"""

# ruff: noqa: ANN401, a cell of a source row may be anything

import re
from typing import Any

import polars as pl

__all__ = ["BEYOND_PYTHON", "with_full_zone", "with_full_zones"]

_TIME = r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)"
_SPELLINGS = (
    (re.compile(rf"{_TIME} ?(?:UTC|Z)"), r"\1Z"),
    (re.compile(rf"{_TIME} ?([+-][0-9]{{2}})"), r"\1\2:00"),
    (re.compile(rf"{_TIME} ?([+-][0-9]{{2}}):?([0-9]{{2}})"), r"\1\2:\3"),
)
_ENDS = ((" (UTC|Z|[+-][0-9]{2}(?::?[0-9]{2})?)$", "${1}"), ("UTC$", "Z"), ("([+-][0-9]{2})([0-9]{2})$", "${1}:${2}"))

BEYOND_PYTHON = re.compile(r"[+-]?infinity|[0-9]{5,}-[0-9]{2}-[0-9]{2}\b.*|[0-9]{4}-.* BC")
"""Dates and times that PostgreSQL holds and Python does not."""


def with_full_zone(value: Any) -> Any:
    """The value; the text of a timestamp with its zone as hours and minutes."""
    if isinstance(value, str):
        for pattern, full in _SPELLINGS:
            if (match := pattern.fullmatch(value)) is not None:
                return match.expand(full)
    return value


def with_full_zones(texts: pl.Series) -> pl.Series:
    """The same for a column, of which only those texts may be taken that are plain instants then."""
    for pattern, full in _ENDS:
        if texts.str.contains(pattern).any():
            texts = texts.str.replace(pattern, full)
    is_short = texts.str.contains("[+-][0-9]{2}$")  # a replacement would take four times as long
    return pl.select(pl.when(is_short).then(texts + ":00").otherwise(texts).alias(texts.name)).to_series()
