"""Rows as dead letters keep them: JSON objects with exact values."""

# ruff: noqa: ANN401, a cell of a row may be anything

import base64
import json
import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

import polars as pl

from rowledger.contract.decimal_texts import digits_of, python_cells
from rowledger.contract.dynamic import BYTES_FOR_PEOPLE, PEOPLES_BYTES_KEY, dynamic_texts
from rowledger.contract.nested_values import with_values
from rowledger.contract.read_times import CALENDAR_DAYS
from rowledger.contract.uuids import holds_uuids, uuids_for_people
from rowledger.spec import ABSENT_PREFIX, BYTES_KEY, DECIMAL_TEXT, DYNAMIC, RESERVED_PREFIX, with_parts

__all__ = ["ENCODER", "TICKS_A_SECOND", "as_dynamic", "json_texts", "row_payloads"]

TICKS_A_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_S = 86_400

ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_TEXT_OR_SPECIAL = re.compile(r'("(?:[^"\\]|\\.)*")|(NaN|-?Infinity)')


def row_payloads(rows: pl.DataFrame) -> Iterator[str]:
    """Each row as a JSON object that keeps its exact values, without reserved columns and columns that the row does not have.

    Integers and finite floats are JSON numbers; floats have the shortest form that reads back equal. Decimals, dates, times and
    durations are text (ISO 8601, instants in UTC, with the source's nanoseconds). NaN and infinities are the texts NaN,
    Infinity and -Infinity. Bytes are {"base64": "…"}. Other values of a DYNAMIC column are unchanged.
    """
    names = [name for name in rows.columns if not name.startswith(RESERVED_PREFIX)]
    written = [json_texts(rows[name]) for name in names]
    for index, name in enumerate(names):
        if (absent := ABSENT_PREFIX + name) in rows.columns:
            written[index] = [
                None if lacks else text for text, lacks in zip(written[index], rows[absent].to_list(), strict=True)
            ]
    keys = [f"{ENCODER.encode(name)}: " for name in names]
    for texts in zip(*written, strict=True):
        yield "{" + ", ".join([key + text for key, text in zip(keys, texts, strict=True) if text is not None]) + "}"


def json_texts(values: pl.Series, *, bytes_key: str = PEOPLES_BYTES_KEY) -> list[str | None]:
    """The JSON text of each value as `row_payloads` writes it, with bytes under `bytes_key`; a null is the text null."""
    if holds_uuids(values.dtype):
        values = uuids_for_people(values.to_frame("v")).to_series()
    if values.dtype == DYNAMIC:
        return ["null" if text is None else _for_people(text) for text in dynamic_texts(values).to_list()]
    exact = values.to_frame("v").select(with_parts(pl.col("v"), values.dtype, _is_time, _time_text)).to_series()
    if exact.dtype == DECIMAL_TEXT:
        exact = digits_of(exact)
    written = _writer(exact.dtype, bytes_key)
    return ["null" if value is None else written(value) for value in python_cells(exact)]


def _for_people(text: str) -> str:
    """The JSON text of a DYNAMIC value, with NaN and infinities as texts: JSON lacks them, and Python reads and writes them."""
    if BYTES_KEY in text:
        text = text.replace(*BYTES_FOR_PEOPLE)
    if "NaN" not in text and "Infinity" not in text:
        return text
    return _TEXT_OR_SPECIAL.sub(lambda found: found[1] or f'"{found[2]}"', text)


def _writer(dtype: pl.DataType, bytes_key: str) -> Callable[[Any], str]:
    """The function that writes a value of that type as JSON; common types take a fast path."""
    match dtype:
        case pl.String() | pl.Categorical() | pl.Enum():
            return encode_basestring
        case pl.Decimal():
            return '"{:f}"'.format
        case _ if dtype.is_integer():
            return str
        case _:
            return lambda value: ENCODER.encode(with_values(value, lambda part: _json_value(part, bytes_key)))


def _is_time(dtype: Any) -> bool:
    return bool(dtype.is_temporal())


def _time_text(values: pl.Expr, dtype: Any) -> pl.Expr:
    """Dates and times as the text that polars writes, because Python's types hold no nanoseconds."""
    match dtype:
        case pl.Date():
            return _calendar_text(values, "d", *CALENDAR_DAYS)
        case pl.Datetime():
            in_utc = values if dtype.time_zone is None else values.dt.convert_time_zone("UTC")
            a_day = _DAY_S * TICKS_A_SECOND[dtype.time_unit]
            first, last = CALENDAR_DAYS[0] * a_day, (CALENDAR_DAYS[1] + 1) * a_day - 1
            return _calendar_text(in_utc, dtype.time_unit, max(first, -(2**63)), min(last, 2**63 - 1))
        case _:
            return values.dt.to_string("iso")


def _calendar_text(values: pl.Expr, unit: str, first: int, last: int) -> pl.Expr:
    """ISO 8601; outside the years 1 to 9999, the number of ticks."""
    ticks = values.to_physical().cast(pl.Int64)
    inside = ticks.is_between(first, last)
    written = pl.when(inside).then(values).dt.to_string("iso")
    return (
        pl.when(ticks.is_null() | inside).then(written).otherwise(pl.format("{} " + unit + " since 1970-01-01", ticks))
    )


def _json_value(value: Any, bytes_key: str) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        case Decimal():
            return format(value, "f")
        case bytes():
            return {bytes_key: base64.b64encode(value).decode("ascii")}
        case _:
            return value


def as_dynamic(values: pl.Series) -> pl.Series:
    """Any column as a DYNAMIC one, its values written as in a payload."""
    if values.dtype == DYNAMIC:
        return values

    texts = pl.Series(json_texts(values, bytes_key=BYTES_KEY), dtype=pl.String)
    return pl.select(pl.struct(texts.alias(DYNAMIC.fields[0].name))).to_series().alias(values.name)
