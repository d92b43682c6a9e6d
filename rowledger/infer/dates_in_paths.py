"""The date in a file's path: the window of time that the file is for, and the path of the other windows' files."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from rowledger.spec import Cadence, Partition, Window, window_bounds

__all__ = ["DatedPath", "dated_path", "without_dates"]

_DATE = re.compile(
    r"""
    (?<![0-9])(?<![0-9][T:_-])(?:year=)?(?P<year>(?:19|20)[0-9]{2})
    (?: (?P<sign>[-_./]?) (?:month=)?(?P<month>0[1-9]|1[0-2]|(?<=month=)[1-9])
    (?: (?P=sign) (?:day=)?(?P<day>0[1-9]|[12][0-9]|3[01]|(?<=day=)[1-9])
    (?: [T_/-] (?:hour=)?(?P<hour>[01][0-9]|2[0-3]|(?<=hour=)[0-9]) (?:[:-]?00)? )? )? )?
    (?![T:_-]?[0-9])
    """,
    re.VERBOSE,
)
_CODES = {"year": "%Y", "month": "%m", "day": "%d", "hour": "%H"}
_CADENCES = dict(zip(_CODES, (Cadence.YEAR, Cadence.MONTH, Cadence.DAY, Cadence.HOUR), strict=True))
_FORMAT = re.compile(r"%\w(?:[-_.:T]?%\w)*(?:(?<=%H)[:-]?00)?")
_UNPADDED = re.compile(rf"%-({'|'.join(_CODES)})")


@dataclass(frozen=True, slots=True)
class DatedPath:
    """`template` is the path with placeholders; `key` is the file's own, as Dagster and the command line write it."""

    template: str
    cadence: Cadence
    key: str

    def partition(self, column: str) -> Partition:
        """The file's partition, which this column holds."""
        lower, upper = window_bounds(self.cadence, self.key, ZoneInfo("UTC"))
        return Partition(self.key, (Window(column, lower, upper),))


def dated_path(path: str) -> DatedPath | None:
    """The last of the most precise dates of a path, which is a source's template; None if it has none.

    A year alone counts in the file's name and as `year=2024`; elsewhere it is too often a part of another name.
    """
    dates = list(_dates(path))
    if not dates:
        return None
    best = max(dates, key=lambda date: (len(_parts(date)), date.start()))
    parts = _parts(best)
    if any(len(other) == len(parts) and other != parts for other in map(_parts, dates)):
        return None  # a range, from one date to another
    cadence = _CADENCES[list(parts)[-1]]
    moment = _moment(parts)
    template, end = "", 0
    for date in dates:
        if _parts(date).items() <= parts.items():
            template += path[end : date.start()] + _placeholders(date, cadence)
            end = date.end()
    key = f"{moment:%Y-%m-%d-%H:00}" if cadence is Cadence.HOUR else f"{moment:%Y-%m-%d}"
    return DatedPath(template + path[end:], cadence, key)


def without_dates(path: str) -> str:
    """The path without its dates."""
    end = 0
    kept = ""
    for date in _dates(path):
        kept += path[end : date.start()]
        end = date.end()
    return kept + path[end:]


def _dates(path: str) -> Iterator[re.Match[str]]:
    for date in _DATE.finditer(path):
        parts = _parts(date)
        if len(parts) == 1:
            is_of_file = "/" not in path[date.start() :] and not path[: date.start()][-1:].isalpha()
            if not (is_of_file or date[0].startswith("year=")):
                continue
        elif len(parts) == 2 and not date["sign"]:  # noqa: PLR2004 - 202401 may be any number
            continue
        try:
            _moment(parts)
        except ValueError:
            continue
        yield date


def _parts(date: re.Match[str]) -> dict[str, str]:
    return {name: date[name] for name in _CODES if date[name] is not None}


def _moment(parts: Mapping[str, str]) -> datetime:
    """The beginning of the window; raises ValueError for a day that does not exist."""
    year, month, day, hour = (int(parts.get(name, default)) for name, default in zip(_CODES, (1, 1, 1, 0), strict=True))
    return datetime(year, month, day, hour, tzinfo=UTC)


def _placeholders(date: re.Match[str], cadence: Cadence) -> str:
    """The date with placeholders in place of its numbers."""
    text, end = "", date.start()
    for name, value in _parts(date).items():
        code = _CODES[name] if len(value) > 1 else f"%-{name}"
        text += date.string[end : date.start(name)] + code
        end = date.end(name)
    text = _UNPADDED.sub(r"{lower.\1}", text + date.string[end : date.end()])
    text = _FORMAT.sub(r"{lower:\g<0>}", text)
    return text.replace("{lower:%Y-%m-%d}", "{partition_key}") if cadence is Cadence.DAY else text
