"""How a table is divided: partition keys, and the half-open range of one column that each of them covers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.errors import SpecError, UnknownPartition
from pipeline.model.column import TypeName

__all__ = ["DailyPartitions", "Partition", "Partitions", "Unpartitioned"]


@dataclass(frozen=True, slots=True)
class Partition:
    """One slice of a table, as the loader sees it.

    `lower` (included) and `upper` (excluded) bound `column`; all three are None for a table that is loaded whole.
    """

    key: str
    column: str | None = None
    lower: datetime | None = None
    upper: datetime | None = None
    timezone: str = "UTC"

    def bounds(self, type_name: TypeName) -> tuple[date, date] | tuple[datetime, datetime] | None:
        """Lower and upper bound as values of the column's type; None for a table that is loaded whole.

        A timestamptz is compared in UTC, a timestamp and a date in the local time of `timezone`.
        """
        if self.lower is None or self.upper is None:
            return None
        local = [moment.astimezone(ZoneInfo(self.timezone)) for moment in (self.lower, self.upper)]
        match type_name:
            case TypeName.TIMESTAMPTZ:
                return self.lower, self.upper
            case TypeName.TIMESTAMP:
                return local[0].replace(tzinfo=None), local[1].replace(tzinfo=None)
            case TypeName.DATE:
                return local[0].date(), local[1].date()
            case _:
                raise SpecError(f"partition column {self.column!r} is {type_name}; it must be a date or a timestamp")


class Partitions(BaseModel, ABC):
    """A declared division of a table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def partition(self, key: str) -> Partition:
        """The partition of that key; raises UnknownPartition."""

    @abstractmethod
    def keys(self) -> list[str]:
        """All keys, oldest first."""


class Unpartitioned(Partitions):
    """The table is loaded whole, as one partition with the key `all`."""

    kind: Literal["unpartitioned"] = "unpartitioned"

    def partition(self, key: str) -> Partition:
        if key != "all":
            raise UnknownPartition(key, "this table is not partitioned; its only key is 'all'")
        return Partition(key="all")

    def keys(self) -> list[str]:
        return ["all"]


class DailyPartitions(Partitions):
    """One partition a calendar day of `timezone`, keyed YYYY-MM-DD, covering that day's values of `column`.

    `column` is a date, a timestamp (read as local time) or a timestamptz. A day is as long as the zone says: 23 to 25 h.
    """

    kind: Literal["daily"] = "daily"
    column: str = Field(description="The column of the row model that decides the day.")
    start: date = Field(description="First day.")
    end: date | None = Field(default=None, description="Last day, included; None means up to yesterday.")
    timezone: str = Field(default="UTC", description="IANA name of the zone whose midnights bound the days.")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        ZoneInfo(value)
        return value

    @model_validator(mode="after")
    def _ordered(self) -> "DailyPartitions":
        if self.end is not None and self.end < self.start:
            raise SpecError(f"daily partitions end on {self.end}, before their start on {self.start}")
        return self

    @property
    def last(self) -> date:
        """The last day there is a partition for, today."""
        return self.end or datetime.now(ZoneInfo(self.timezone)).date() - timedelta(days=1)

    def partition(self, key: str) -> Partition:
        try:
            day = date.fromisoformat(key)
        except ValueError:
            day = None
        if day is None or day.isoformat() != key or not self.start <= day <= self.last:
            raise UnknownPartition(key, f"daily keys run from {self.start} to {self.last}")
        zone = ZoneInfo(self.timezone)
        midnights = (datetime.combine(d, time(), zone).astimezone(UTC) for d in (day, day + timedelta(days=1)))
        lower, upper = midnights
        return Partition(key=key, column=self.column, lower=lower, upper=upper, timezone=self.timezone)

    def keys(self) -> list[str]:
        days = (self.last - self.start).days + 1
        return [(self.start + timedelta(days=n)).isoformat() for n in range(max(days, 0))]
