"""Formats of dates that are not ISO's: which of them fit the values of a column."""

from collections import Counter
from dataclasses import dataclass, field

import polars as pl

from rowledger.infer.shapes import Shape

__all__ = ["DateFormats", "has_time", "month_is_first", "swapped"]

_SIGNS = "/.-"
_ORDERS = (("%d", "%m"), ("%m", "%d"))
_TIMES = (" %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", ", %H:%M:%S", ", %H:%M", ", %I:%M:%S %p", ", %I:%M %p")
_ALIVE_SHARE = 0.9
_SMALLEST_YEAR = 1000


def _last_years(year: str, times: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{one}{sign}{two}{sign}{year}{time}" for time in times for sign in _SIGNS for one, two in _ORDERS)


_FORMATS: dict[Shape, tuple[str, ...]] = {
    Shape.YEAR_FIRST: tuple(
        f"%Y{sign}%m{sign}%d{time}" for time in ("", " %H:%M:%S", " %H:%M", "T%H:%M:%S") for sign in _SIGNS
    ),
    Shape.DAY_OR_MONTH_FIRST: _last_years("%Y", ("",)),
    Shape.DAY_OR_MONTH_FIRST_TIME: _last_years("%Y", _TIMES),
    Shape.SHORT_YEAR: _last_years("%y", ("", *_TIMES[:2])),
    Shape.MONTH_NAME: (
        "%d-%b-%y", "%d-%b-%Y", "%d %b %Y", "%d %b %y", "%b %d %Y", "%b %d, %Y",
        "%d-%B-%Y", "%d %B %Y", "%B %d %Y", "%B %d, %Y",
    ),
}  # fmt: skip


@dataclass
class DateFormats:
    """How many values of each shape each format reads, and the first and second parts of dates whose year is the last."""

    values: Counter[Shape] = field(default_factory=Counter)
    read: dict[Shape, Counter[str]] = field(default_factory=dict)
    parts: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))

    def add(self, shape: Shape, values: pl.Series) -> None:
        """Take the values of this shape of one chunk."""
        counts = self.read.setdefault(shape, Counter(dict.fromkeys(_FORMATS[shape], 0)))
        before = self.values[shape]
        self.values[shape] += len(values)
        for form, count in list(counts.items()):
            if count >= _ALIVE_SHARE * before:
                counts[form] += _read(values, form)
        if shape is not Shape.YEAR_FIRST and shape is not Shape.MONTH_NAME:
            groups = values.str.extract_groups(r"^([0-9]{1,2})[/.-]([0-9]{1,2})").struct.unnest()
            for found, name in zip(self.parts, groups.columns, strict=True):
                found.update(groups[name].cast(pl.Int64, strict=False).drop_nulls().unique().to_list())

    def best(self, shape: Shape, *, is_month_first: bool | None) -> tuple[str | None, int]:
        """The format that reads most values of the shape, and how many; None if day and month cannot be told apart.

        `is_month_first` is what is known from other columns.
        """
        form, count = max(self.read[shape].items(), key=lambda item: item[1])
        other = swapped(form)
        if other is None or self.read[shape][other] < count:
            return form, count
        known = self._month_is_first(form) if is_month_first is None else is_month_first
        if known is None:
            return None, 0
        return (form if month_is_first(form) == known else other), count

    def _month_is_first(self, form: str) -> bool | None:
        """What the values suggest: dates with points begin with the day; of the first days of months, one part is always 1."""
        if "." in form:
            return False
        first, second = self.parts
        if second == {1} and len(first) > 1:
            return True
        if first == {1} and len(second) > 1:
            return False
        return None


def _read(values: pl.Series, form: str) -> int:
    """How many values have the format."""
    moments = (
        values.str.to_datetime(form, time_unit="us", strict=False)
        if has_time(form)
        else values.str.to_date(form, strict=False)
    )
    return int((moments.dt.year() >= _SMALLEST_YEAR).sum())


def has_time(form: str) -> bool:
    """Whether the format has a time of day."""
    return "%H" in form or "%I" in form


def month_is_first(form: str) -> bool:
    """Whether the month is before the day."""
    return form.find("%m") < form.find("%d")


def swapped(form: str) -> str | None:
    """The format with day and month in the other order; None if they cannot be taken for each other."""
    if not form.startswith(("%d", "%m")) or "%m" not in form:
        return None
    return form.replace("%d", "%x").replace("%m", "%d").replace("%x", "%m")
