"""Readers of dates, timestamps, times of day and durations, by the type of the source's column."""

from typing import Any

import polars as pl

from rowledger.contract.kinds import Kind
from rowledger.contract.reading import INT64_MIN, Family, Reader, Reading, blank, family_of, matching, refuse_outside
from rowledger.contract.rules import FieldRules
from rowledger.contract.written_zones import with_full_zones
from rowledger.spec import types_in

__all__ = ["CALENDAR_DAYS", "TIMES", "holds_times", "unheld"]

_PLAIN_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_MICROSECONDS = r"(\.[0-9]{1,6}0{0,3})?"  # many programs write nanoseconds, of which the last three are zeros
_PLAIN_TIME = rf"^[0-9]{{2}}:[0-9]{{2}}:[0-5][0-9]{_MICROSECONDS}$"
_PLAIN_TIMESTAMP = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ][0-9]{{2}}:[0-9]{{2}}:[0-5][0-9]{_MICROSECONDS}$"
_PLAIN_INSTANT = _PLAIN_TIMESTAMP[:-1] + r"(Z|[+-][0-9]{2}:[0-9]{2})$"
_PLAIN_DURATION = r"^-?[0-9]{2}:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?$"
CALENDAR_DAYS = (-719_162, 2_932_896)  # 0001-01-01 and 9999-12-31, what Python's date holds
_DAY_US = 86_400_000_000


def _date(_rules: FieldRules, source: pl.Series) -> Reading:
    reading = Reading(source)
    refuse_outside(reading, source.to_physical(), CALENDAR_DAYS)
    return reading


def _date_from_timestamp(rules: FieldRules, source: pl.Series) -> Reading:
    """Midnights become dates; pydantic words the refusal of other times."""
    reading = _timestamp(rules, source)
    stamps = reading.values
    reading.values = stamps.cast(pl.Date)
    reading.doubt(reading.values.cast(stamps.dtype) != stamps)
    return reading


def _date_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    values = matching(source, _PLAIN_DATE)
    reading = Reading(values.str.to_date("%Y-%m-%d", strict=False))
    return _doubt_beyond_calendar(reading, CALENDAR_DAYS[0], CALENDAR_DAYS[1] + 1)


def _timestamp(_rules: FieldRules, source: pl.Series) -> Reading:
    """Timestamps in microseconds; with a zone, in UTC."""
    dtype = source.dtype
    ticks = source.to_physical()
    unit = dtype.time_unit  # type: ignore[attr-defined]
    reading = Reading(source)
    match unit:
        case "ns":
            reading.refuse(ticks % 1000 != 0, "has nanoseconds, which a timestamp would lose")
            ticks = ticks // 1000
        case "ms":
            limit = (2**63 - 1) // 1000
            refuse_outside(reading, ticks, (-limit, limit))
            ticks = ticks.clip(-limit, limit) * 1000
    refuse_outside(reading, ticks, (CALENDAR_DAYS[0] * _DAY_US, (CALENDAR_DAYS[1] + 1) * _DAY_US - 1))
    zone = "UTC" if dtype.time_zone else None  # type: ignore[attr-defined]
    if unit != "us" or dtype.time_zone != zone:  # type: ignore[attr-defined]
        reading.values = ticks.cast(pl.Datetime("us", zone))
    return reading


def _timestamp_from_date(rules: FieldRules, source: pl.Series) -> Reading:
    reading = _date(rules, source)
    reading.values = source.cast(pl.Datetime("us"))
    return reading


def _timestamp_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    values = matching(source, _PLAIN_TIMESTAMP)
    spaced = values.str.replace("T", " ", literal=True)
    reading = Reading(spaced.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False))
    return _doubt_beyond_calendar(reading, CALENDAR_DAYS[0] * _DAY_US, (CALENDAR_DAYS[1] + 1) * _DAY_US)


def _instant_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    values = matching(source, _PLAIN_INSTANT)
    if values.null_count() > source.null_count():
        values = matching(with_full_zones(source), _PLAIN_INSTANT)
    spaced = values.str.replace("T", " ", literal=True).str.replace("Z", "+00:00", literal=True)
    parsed = spaced.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)
    reading = Reading(parsed)
    # Pydantic judges the first and the last day: a zone may have moved the instant beyond the calendar.
    return _doubt_beyond_calendar(reading, (CALENDAR_DAYS[0] + 1) * _DAY_US, CALENDAR_DAYS[1] * _DAY_US)


def _time(_rules: FieldRules, source: pl.Series) -> Reading:
    reading = Reading(source)
    reading.refuse(source.to_physical() % 1000 != 0, "has nanoseconds, which a time would lose")
    return reading


def _time_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    values = matching(source, _PLAIN_TIME)
    return Reading(values.str.to_time("%H:%M:%S%.f", strict=False))


def _duration(_rules: FieldRules, source: pl.Series) -> Reading:
    """Elapsed time in microseconds."""
    ticks = source.to_physical()
    reading = Reading(source)
    match source.dtype.time_unit:  # type: ignore[attr-defined]
        case "ns":
            reading.refuse(ticks % 1000 != 0, "has nanoseconds, which a duration would lose")
            reading.values = (ticks // 1000).cast(pl.Duration("us"))
        case "ms":
            limit = (2**63 - 1) // 1000
            reading.refuse(~ticks.is_between(-limit, limit), "is longer than 292,471 years")
            reading.values = (ticks.clip(-limit, limit) * 1000).cast(pl.Duration("us"))
        case _:
            reading.refuse(ticks == INT64_MIN, "is longer than 292,471 years")
    return reading


def _duration_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    """Clock form (01:02:03.5); pydantic reads the others."""
    values = matching(source, _PLAIN_DURATION).rename("text")
    clock = values.str.strip_prefix("-")
    parts = [clock.str.slice(start, 2).cast(pl.Int64) for start in (0, 3, 6)]
    fraction = clock.str.slice(9).str.pad_end(6, "0").cast(pl.Int64)
    ticks = ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1_000_000 + fraction
    signed = pl.select(pl.when(values.str.starts_with("-")).then(-ticks).otherwise(ticks)).to_series()
    return Reading(signed.cast(pl.Duration("us")).alias(source.name))


def _doubt_beyond_calendar(reading: Reading, first_tick: int, end_tick: int) -> Reading:
    ticks = reading.values.to_physical()
    if ticks.null_count() == len(ticks):
        return reading
    if ticks.min() < first_tick or ticks.max() >= end_tick:  # type: ignore[operator]
        beyond = ((ticks < first_tick) | (ticks >= end_tick)).fill_null(value=False)
        reading.doubt(beyond)
        reading.values = blank(reading.values, beyond)  # even min() fails on values that Python cannot hold
    return reading


def unheld(source: pl.Series) -> list[tuple[pl.Series, str]]:
    """Dates and times that Python cannot hold, as masks with their reasons."""
    readers = {"date": _date, "naive": _timestamp, "aware": _timestamp, "time": _time, "duration": _duration}
    reader = readers.get(family_of(source.dtype) or "")
    if reader is None or source.null_count() == len(source):
        return []
    no_rules: Any = None  # these readers use the values alone
    return reader(no_rules, source).refused


TIMES: dict[Kind, dict[Family, Reader]] = {
    Kind.DATE: {"date": _date, "naive": _date_from_timestamp, "text": _date_from_text},
    Kind.TIMESTAMP: {"naive": _timestamp, "date": _timestamp_from_date, "text": _timestamp_from_text},
    Kind.TIMESTAMPTZ: {"aware": _timestamp, "text": _instant_from_text},
    Kind.TIME: {"time": _time, "text": _time_from_text},
    Kind.INTERVAL: {"duration": _duration, "text": _duration_from_text},
}  # fmt: skip


def holds_times(dtype: pl.DataType) -> bool:
    """Whether the type contains a date or a time at any depth."""
    return any(part.is_temporal() for part in types_in(dtype))
