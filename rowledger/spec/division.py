"""What a division of a table is to the rest: partition keys, and the rows that each of them covers.

`partition` has those that a spec can declare. It is apart, since a worker needs no more of them than its spec names.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rowledger.errors import UnknownPartition
from rowledger.spec.column import TypeName
from rowledger.spec.condition import Condition, Window

__all__ = ["Partition", "Partitions", "Unpartitioned"]


@dataclass(frozen=True, slots=True)
class Partition:
    """One slice of a table, as the loader sees it: the rows for which every condition holds.

    No condition means all rows, or, where `Partitions.identifies_rows` is false, that its rows cannot be told from others.
    `dimensions` are the names and keys that a key of several is made of.
    """

    key: str
    conditions: tuple[Condition, ...] = ()
    dimensions: tuple[tuple[str, str], ...] = ()

    @property
    def placeholders(self) -> dict[str, str]:
        """What a template of paths or queries may name of a partition: `partition_key`, and its dimensions by name."""
        return {**dict(self.dimensions), "partition_key": self.key}

    @property
    def window(self) -> Window | None:
        """The window of time that it covers, where it has exactly one."""
        windows = [condition for condition in self.conditions if isinstance(condition, Window)]
        return windows[0] if len(windows) == 1 else None

    @property
    def lower(self) -> datetime | None:
        """First instant of its window, included."""
        return self.window.lower if self.window else None

    @property
    def upper(self) -> datetime | None:
        """Last instant of its window, excluded."""
        return self.window.upper if self.window else None

    @property
    def timezone(self) -> str:
        """IANA name of the zone whose clock bounds its window; UTC where it has none."""
        return self.window.timezone if self.window else "UTC"

    def conditions_on(self, column: str) -> tuple[Condition, ...]:
        """What it asks of one column."""
        return tuple(condition for condition in self.conditions if condition.column == column)


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
        return Partition(key="all")

    def keys(self) -> list[str]:
        return ["all"]

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    @property
    def identifies_rows(self) -> bool:
        return True
