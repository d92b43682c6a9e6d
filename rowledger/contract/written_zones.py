"""Zones of timestamps that PostgreSQL and other programs write in short, as pydantic reads them.

PostgreSQL writes `2024-01-01 00:00:00+00`, Ruby and Git `+0000` after a blank, BigQuery `UTC`. None of them has a second
meaning.
"""

# ruff: noqa: ANN401, a cell of a source row may be anything

import re
from typing import Any

import polars as pl

__all__ = ["BEYOND_PYTHON", "with_full_zone", "with_full_zones"]

_TIME = r"^([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)"
_SPELLINGS = (
    (rf"{_TIME} ?(?:UTC|Z)$", r"\g<1>Z"),
    (rf"{_TIME} ?([+-][0-9]{{2}})$", r"\g<1>\g<2>:00"),
    (rf"{_TIME} ?([+-][0-9]{{2}}):?([0-9]{{2}})$", r"\g<1>\g<2>:\g<3>"),
)
_COMPILED = tuple((re.compile(pattern.replace("$", r"\Z")), full) for pattern, full in _SPELLINGS)

BEYOND_PYTHON = re.compile(r"[+-]?infinity|[0-9]{5,}-[0-9]{2}-[0-9]{2}\b.*|[0-9]{4}-.* BC")
"""Dates and times that PostgreSQL holds and Python does not."""


def with_full_zone(value: Any) -> Any:
    """The value; the text of a timestamp with its zone as hours and minutes."""
    if isinstance(value, str):
        for pattern, full in _COMPILED:
            if pattern.match(value):
                return pattern.sub(full, value)
    return value


def with_full_zones(texts: pl.Series) -> pl.Series:
    """The same for a column of texts."""
    for pattern, full in _SPELLINGS:
        texts = texts.str.replace(pattern, re.sub(r"\\g<(\d)>", r"${\1}", full))
    return texts
