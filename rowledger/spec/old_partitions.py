"""How a spec can divide a table: by windows of time, by keys, or by both; told by the values of columns."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator, model_validator

from rowledger.errors import SpecError, UnknownPartition
from rowledger.spec.by_class import ByClass
from rowledger.spec.column import TypeName
from rowledger.spec.condition import KEY_TYPES, Equals, Window
from rowledger.spec.partition import WHOLE, Partition

__all__ = [
    "DailyPartitions",
    "DynamicPartitions",
    "HourlyPartitions",
    "MonthlyPartitions",
    "MultiPartitions",
    "Partitions",
    "StaticPartitions",
    "TimeWindowPartitions",
    "Unpartitioned",
    "WeeklyPartitions",
]

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_KEY_BYTES_MAX = (
    1_000  # an entry of an index of the ledger's, or of Dagster's, has 2,704 bytes; two dimensions share it
)
_KEY_SHOWN = 40
_HOUR = timedelta(hours=1)
_LOOK_AHEAD_DAYS = 400


class Partitions(BaseModel, ABC):
    """A declared division of a table."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)  # a spec has one of many

    @abstractmethod
    def partition(self, key: str) -> Partition:
        """The partition of that key; raises UnknownPartition."""

    @abstractmethod
    def keys(self) -> list[str]:
        """All keys that are known beforehand, oldest first."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns whose values say to which partition a row belongs."""

    @property
    def identifies_rows(self) -> bool:
        """Whether a partition's rows can be told from those of others."""
        return bool(self.columns)

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names of `Partition.placeholders`."""
        return ("partition_key",)

    def require_types(self, types: dict[str, TypeName]) -> None:
        """Raise SpecError where a column's type cannot tell partitions apart."""


class Unpartitioned(Partitions):
    """The table is loaded whole, as one partition with the key `all`."""

    kind: Literal["unpartitioned"] = "unpartitioned"

    def partition(self, key: str) -> Partition:
        if key != "all":
            raise UnknownPartition(key, "this table is not partitioned; its only key is 'all'")
        return WHOLE

    def keys(self) -> list[str]:
        return ["all"]

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    @property
    def identifies_rows(self) -> bool:
        return True


class TimeWindowPartitions(Partitions, ABC):
    """One partition a window of time, covering that window's values of `column`; the windows follow each other without gap.

    `column` is a date, a timestamp (read as local time) or a timestamptz. A window is as long as the zone says: a day has
    23 to 25 h. A window that `start` or `end` would cut has no partition.
    """

    column: str = Field(description="The column of the row model that decides the window.")
    start: date = Field(description="First day.")
    end: date | None = Field(
        default=None, description="Last day, included; None means up to the last window that is over."
    )
    timezone: str = Field(default="UTC", description="IANA name of the zone whose clock bounds the windows.")

    _adjective: ClassVar[str]

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        ZoneInfo(value)
        return value

    @model_validator(mode="after")
    def _holds_a_window(self) -> "TimeWindowPartitions":
        if self.end is not None and self.end < self.start:
            raise SpecError(f"{self._adjective} partitions end on {self.end}, before their start on {self.start}")
        if self.end is not None and not self.keys():
            raise SpecError(f"{self._adjective} partitions from {self.start} to {self.end}: no whole one lies between")
        return self

    @abstractmethod
    def _window(self, key: str) -> tuple[datetime, datetime] | None:
        """The window of that key, as instants in UTC; None where the text is no such key."""

    @abstractmethod
    def _keys_before(self, over: datetime) -> Iterator[str]:
        """The keys of all windows from `start` on that end by that instant."""

    @property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def _over(self) -> datetime:
        """The instant by which a window has to end to have a partition."""
        return self._midnight(self.end + timedelta(days=1)) if self.end else datetime.now(UTC)

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), self._zone).astimezone(UTC)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def partition(self, key: str) -> Partition:
        window = self._window(key)
        if window is None or window[0] < self._midnight(self.start) or window[1] > self._over:
            known = self.keys()
            run = f"run from {known[0]} to {known[-1]}" if known else f"begin with the first after {self.start}"
            raise UnknownPartition(key, f"{self._adjective} keys {run}")
        return Partition(key=key, conditions=(Window(self.column, *window, self.timezone),))

    def keys(self) -> list[str]:
        return list(self._keys_before(self._over))

    def require_types(self, types: dict[str, TypeName]) -> None:
        epoch = datetime.fromtimestamp(0, UTC)
        Window(self.column, epoch, epoch).bounds(types[self.column])


class _CalendarPartitions(TimeWindowPartitions, ABC):
    """Windows of whole days, keyed by their first day, YYYY-MM-DD."""

    @abstractmethod
    def _first_day_from(self, day: date) -> date:
        """The first day of a window, this one or the next after it."""

    def _window(self, key: str) -> tuple[datetime, datetime] | None:
        try:
            day = date.fromisoformat(key)
        except ValueError:
            return None
        if day.isoformat() != key or self._first_day_from(day) != day:
            return None
        return self._midnight(day), self._midnight(self._first_day_from(day + timedelta(days=1)))

    def _keys_before(self, over: datetime) -> Iterator[str]:
        day = self._first_day_from(self.start)
        while self._midnight(after := self._first_day_from(day + timedelta(days=1))) <= over:
            yield day.isoformat()
            day = after


class DailyPartitions(_CalendarPartitions):
    """One partition a calendar day of `timezone`, keyed YYYY-MM-DD."""

    kind: Literal["daily"] = "daily"
    _adjective: ClassVar[str] = "daily"

    def _first_day_from(self, day: date) -> date:
        return day


class WeeklyPartitions(_CalendarPartitions):
    """One partition a week of `timezone`, keyed by its first day, YYYY-MM-DD."""

    kind: Literal["weekly"] = "weekly"
    begins_on: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = "monday"
    _adjective: ClassVar[str] = "weekly"

    def _first_day_from(self, day: date) -> date:
        return day + timedelta(days=(_WEEKDAYS.index(self.begins_on) - day.weekday()) % 7)


class MonthlyPartitions(_CalendarPartitions):
    """One partition a month of `timezone`, keyed by its first day, YYYY-MM-01."""

    kind: Literal["monthly"] = "monthly"
    _adjective: ClassVar[str] = "monthly"

    def _first_day_from(self, day: date) -> date:
        return day if day.day == 1 else (day.replace(day=1) + timedelta(days=31)).replace(day=1)


class HourlyPartitions(TimeWindowPartitions):
    """One partition an hour of `timezone`, keyed YYYY-MM-DD-HH:00; the second of an hour that comes twice adds its offset."""

    kind: Literal["hourly"] = "hourly"
    _adjective: ClassVar[str] = "hourly"
    _form: ClassVar[re.Pattern[str]] = re.compile(r"(\d{4}-\d\d-\d\d)-(\d\d:\d\d)([+-]\d{4})?", re.ASCII)

    @model_validator(mode="after")
    def _clock_set_by_full_hours(self) -> "HourlyPartitions":
        if len({offset % _HOUR for offset in self._offsets()}) > 1:
            raise SpecError(f"the clock of {self.timezone} is set by parts of an hour; let the hours be those of UTC")
        return self

    def _offsets(self) -> set[timedelta]:
        """What the zone's clock is ahead of UTC by, from `start` on, as far as is known."""
        first = self._midnight(self.start)
        days = (max(self._over, datetime.now(UTC)) - first).days + _LOOK_AHEAD_DAYS
        return {(first + timedelta(days=day)).astimezone(self._zone).utcoffset() or timedelta() for day in range(days)}

    def _window(self, key: str) -> tuple[datetime, datetime] | None:
        if (match := self._form.fullmatch(key)) is None:
            return None
        try:
            clock = datetime.fromisoformat(f"{match[1]}T{match[2]}")
        except ValueError:
            return None
        begin = clock.replace(tzinfo=self._zone, fold=int(bool(match[3]))).astimezone(UTC)
        return (begin, begin + _HOUR) if self._key(begin) == key and not clock.minute else None

    def _keys_before(self, over: datetime) -> Iterator[str]:
        begin = self._midnight(self.start)
        while (end := begin + _HOUR) <= over:
            yield self._key(begin)
            begin = end

    def _key(self, begin: datetime) -> str:
        local = begin.astimezone(self._zone)
        return local.strftime("%Y-%m-%d-%H:%M%z" if local.fold else "%Y-%m-%d-%H:%M")

    def require_types(self, types: dict[str, TypeName]) -> None:
        super().require_types(types)
        if types[self.column] is TypeName.DATE:
            raise SpecError(f"partition column {self.column!r} is a date, which has no hours")
        if types[self.column] is TypeName.TIMESTAMP and len(self._offsets()) > 1:
            raise SpecError(
                f"partition column {self.column!r} is a timestamp without zone, and in {self.timezone} an hour comes twice "
                "a year; make it a timestamptz, or let the hours be those of UTC"
            )


class StaticPartitions(Partitions):
    """One partition a key of a list; with `column`, a partition's rows are those that have its key in there.

    Without `column` a key only chooses what is read, and a table can be appended to or upserted, but not replaced by partition.
    """

    kind: Literal["static"] = "static"
    keys_: tuple[str, ...] = Field(alias="keys", min_length=1, description="The keys, in the order of their loading.")
    column: str | None = Field(default=None, description="The column of the row model that holds the key.")

    @field_validator("keys_")
    @classmethod
    def _usable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({key for key in value if value.count(key) > 1}):
            raise SpecError(f"static partition keys are given twice: {twice}")
        for key in value:
            _require_usable(key)
        return value

    @property
    def columns(self) -> tuple[str, ...]:
        return _columns_of(self.column)

    def partition(self, key: str) -> Partition:
        if key not in self.keys_:
            raise UnknownPartition(key, f"the keys are {', '.join(self.keys_)}")
        return _of_key(key, self.column)

    def keys(self) -> list[str]:
        return list(self.keys_)

    def require_types(self, types: dict[str, TypeName]) -> None:
        for key in self.keys_ if self.column else ():
            Equals(self.column or "", key).value(types[self.column or ""])


class DynamicPartitions(Partitions):
    """One partition a key that is added while the table lives; Dagster's instance keeps the list under `name`.

    Outside Dagster any key is taken that `pattern` allows. `column` is as for StaticPartitions.
    """

    kind: Literal["dynamic"] = "dynamic"
    name: str = Field(min_length=1, description="Dagster's name of this list of keys.")
    column: str | None = Field(default=None, description="The column of the row model that holds the key.")
    pattern: str = Field(default=r"\w[\w .:+@=-]*", description="A regular expression that every whole key matches.")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise SpecError(f"pattern {value!r} of dynamic partitions: {error}") from None
        return value

    @property
    def columns(self) -> tuple[str, ...]:
        return _columns_of(self.column)

    def partition(self, key: str) -> Partition:
        if not re.fullmatch(self.pattern, key):
            raise UnknownPartition(key, f"keys of {self.name} match {self.pattern}")
        try:
            _require_usable(key)
        except SpecError as error:
            raise UnknownPartition(key, str(error)) from None
        return _of_key(key, self.column)

    def keys(self) -> list[str]:
        return []

    def require_types(self, types: dict[str, TypeName]) -> None:
        if self.column and types[self.column] not in KEY_TYPES:
            raise SpecError(
                f"partition column {self.column!r} is {types[self.column]}; the keys of dynamic partitions are text or integers"
            )


class MultiPartitions(Partitions):
    """One partition a pair of keys of two dimensions, keyed `a|b` in the order of the dimensions' names, as Dagster does.

    A row belongs to the partition if it belongs to both. Paths may hold `{name}` of each dimension.
    """

    kind: Literal["multi"] = "multi"
    dimensions: dict[str, Annotated[SerializeAsAny[Partitions], ByClass("partitions", ())]] = Field(
        description="Partitions by the dimension's name; two."
    )

    @model_validator(mode="after")
    def _usable(self) -> "MultiPartitions":
        if len(self.dimensions) != 2:  # noqa: PLR2004 - Dagster has no more
            raise SpecError(f"multi partitions have two dimensions, not {len(self.dimensions)}")
        for name, dimension in self.dimensions.items():
            if not name.isidentifier() or name in ("landing", "partition_key"):
                raise SpecError(f"dimension {name!r} must be named by a word that a path can hold as a placeholder")
            if isinstance(dimension, Unpartitioned | MultiPartitions):
                raise SpecError(f"dimension {name!r} cannot be {dimension.kind}")
            known = dimension.keys()
            if bad := [key for key in known if "|" in key]:
                raise SpecError(f"dimension {name!r}: keys {bad} hold '|', which stands between two keys")
        if len(set(self.columns)) < len(self.columns):
            raise SpecError(f"both dimensions divide by column {self.columns[0]!r}")
        return self

    @property
    def placeholders(self) -> tuple[str, ...]:
        return ("partition_key", *(name for name, _ in self._ordered))

    @property
    def _ordered(self) -> list[tuple[str, Partitions]]:
        return sorted(self.dimensions.items())

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column for _, dimension in self._ordered for column in dimension.columns)

    @property
    def identifies_rows(self) -> bool:
        return all(dimension.identifies_rows for dimension in self.dimensions.values())

    def partition(self, key: str) -> Partition:
        names = "|".join(name for name, _ in self._ordered)
        first, separator, second = key.partition("|")
        if not separator:
            raise UnknownPartition(key, f"keys of two dimensions are written {names}")
        parts = list(zip(self._ordered, (first, second), strict=True))
        try:
            partitions = [dimension.partition(part) for (_, dimension), part in parts]
        except UnknownPartition as error:
            raise UnknownPartition(key, f"keys are written {names}; {error}") from None
        return Partition(
            key=key,
            conditions=tuple(condition for partition in partitions for condition in partition.conditions),
            dimensions=tuple((name, part) for (name, _), part in parts),
            identifies_rows=self.identifies_rows,
        )

    def keys(self) -> list[str]:
        (_, first), (_, second) = self._ordered
        return [f"{a}|{b}" for a in first.keys() for b in second.keys()]  # noqa: SIM118 - a method, not a dict's

    def require_types(self, types: dict[str, TypeName]) -> None:
        for dimension in self.dimensions.values():
            dimension.require_types(types)


def _columns_of(column: str | None) -> tuple[str, ...]:
    return (column,) if column else ()


def _of_key(key: str, column: str | None) -> Partition:
    return Partition(key=key, conditions=(Equals(column, key),) if column else (), identifies_rows=column is not None)


def _require_usable(key: str) -> None:
    """What Dagster cannot write on its command line, a person cannot see, or an index cannot hold."""
    if (length := len(key.encode(errors="replace"))) > _KEY_BYTES_MAX:
        raise SpecError(f"partition key {key[:_KEY_SHOWN]!r}… has {length} bytes; at most {_KEY_BYTES_MAX} are allowed")
    if not key or key != key.strip() or not key.isprintable() or "..." in key or "," in key:
        raise SpecError(f"partition key {key!r} must not be empty, hold ',' or '...', or begin or end with a blank")
