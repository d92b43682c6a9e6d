"""The time windows that keys name without Dagster.

They have the keys and the bounds of Dagster's hourly, daily, weekly and monthly partitions; those of a year are a cron
schedule's. A key is the local time at which its window begins. So the key of a week, a month or a year also says on which
day these begin.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from rowledger.errors import UnknownPartition

__all__ = ["Cadence", "keys_between", "window_bounds"]

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_HOUR = re.compile(r"(\d{4}-\d{2}-\d{2})-(\d{2}:\d{2})([+-]\d{4})?")
_DAY_OF_MONTH_MAX = 28  # months without the day would have no window


class Cadence(StrEnum):
    """How long a window is."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"

    @property
    def form(self) -> str:
        """What a key looks like."""
        return "2024-03-31-14:00" if self is Cadence.HOUR else "2024-03-31"


def window_bounds(cadence: Cadence, key: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Start and end of the window that the key names, in UTC; raises UnknownPartition."""
    try:
        start = _start(cadence, key, zone)
        if start is None or _key(cadence, start, zone) != key:
            raise UnknownPartition(
                key, f"the key of one {cadence} is the time in {zone.key} at which it begins, such as {cadence.form}"
            )
        return start, _end(cadence, start, zone)
    except (ValueError, OverflowError):
        raise UnknownPartition(key, f"there is no such {cadence} in {zone.key}") from None


def keys_between(cadence: Cadence, first: str, last: str, zone: ZoneInfo) -> Iterator[str]:
    """The keys from the first to the last, both included; raises UnknownPartition where steps do not lead to the last."""
    start, end = window_bounds(cadence, first, zone)
    until, _ = window_bounds(cadence, last, zone)
    while start <= until:
        yield _key(cadence, start, zone)
        if start == until:
            return
        start, end = end, _end(cadence, end, zone)
    raise UnknownPartition(
        f"{first}...{last}", f"the last {cadence} does not follow from the first, {cadence} by {cadence}"
    )


def _start(cadence: Cadence, key: str, zone: ZoneInfo) -> datetime | None:
    """The instant at which the window would begin; None for a text of another form."""
    if cadence is not Cadence.HOUR:
        if _DAY.fullmatch(key) is None:
            return None
        day = date.fromisoformat(key)
        if cadence in (Cadence.MONTH, Cadence.YEAR) and day.day > _DAY_OF_MONTH_MAX:
            raise UnknownPartition(key, f"a {cadence} may begin on the days 1 to {_DAY_OF_MONTH_MAX}")
        return _midnight(day, zone)
    if (match := _HOUR.fullmatch(key)) is None:
        return None
    local = datetime.combine(date.fromisoformat(match[1]), time.fromisoformat(match[2]), zone)
    # The second of two hours with one name has its offset from UTC in its key.
    return local.replace(fold=0 if match[3] is None else 1).astimezone(UTC)


def _end(cadence: Cadence, start: datetime, zone: ZoneInfo) -> datetime:
    day = start.astimezone(zone).date()
    match cadence:
        case Cadence.HOUR:
            return start + timedelta(hours=1)
        case Cadence.DAY:
            return _midnight(day + timedelta(days=1), zone)
        case Cadence.WEEK:
            return _midnight(day + timedelta(weeks=1), zone)
        case Cadence.MONTH | Cadence.YEAR:
            months = day.year * 12 + day.month + (0 if cadence is Cadence.MONTH else 11)  # of the next one, from 0
            return _midnight(day.replace(year=months // 12, month=months % 12 + 1), zone)


def _key(cadence: Cadence, start: datetime, zone: ZoneInfo) -> str:
    local = start.astimezone(zone)
    if cadence is not Cadence.HOUR:
        return local.date().isoformat()
    return f"{local.date().isoformat()}-{local:%H:%M}{f'{local:%z}' if local.fold else ''}"


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of the local day: after midnight where the clock skips it, the first one where it comes twice."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)
