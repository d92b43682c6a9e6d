"""A partition of a table: a key, and the conditions that distinguish its rows from those of other partitions."""

from dataclasses import dataclass
from datetime import datetime

from rowledger.spec.condition import Condition, Window

__all__ = ["WHOLE", "Partition"]


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition of a table: the rows for which every condition holds.

    `dimensions` are the names and keys of the dimensions that make up the key. `identifies_rows` is false if the conditions
    do not distinguish the partition's rows from those of others, because the key, or one of its dimensions, only selects what
    is read. Such rows can be appended or upserted, but not replaced.
    """

    key: str
    conditions: tuple[Condition, ...] = ()
    dimensions: tuple[tuple[str, str], ...] = ()
    identifies_rows: bool = True

    @property
    def placeholders(self) -> dict[str, str]:
        """The values that a template of paths or queries may name: `partition_key`, and the dimensions by name."""
        return {**dict(self.dimensions), "partition_key": self.key}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values decide whether a row belongs to the partition."""
        return tuple(condition.column for condition in self.conditions)

    @property
    def window(self) -> Window | None:
        """The partition's time window, if it has exactly one."""
        windows = [condition for condition in self.conditions if isinstance(condition, Window)]
        return windows[0] if len(windows) == 1 else None

    @property
    def lower(self) -> datetime | None:
        """First instant of the window, included."""
        return self.window.lower if self.window else None

    @property
    def upper(self) -> datetime | None:
        """End of the window, excluded."""
        return self.window.upper if self.window else None

    @property
    def timezone(self) -> str:
        """IANA name of the time zone in which the window's bounds are local times; UTC without a window."""
        return self.window.timezone if self.window else "UTC"

    def conditions_on(self, column: str) -> tuple[Condition, ...]:
        """The conditions on one column."""
        return tuple(condition for condition in self.conditions if condition.column == column)


WHOLE = Partition("all")
"""The only partition of an unpartitioned table."""
