"""A partition of a table, as the core knows it: a key, and the conditions that tell its rows from those of other partitions."""

from dataclasses import dataclass
from datetime import datetime

from rowledger.spec.condition import Condition, Window

__all__ = ["WHOLE", "Partition"]


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition of a table: the rows for which every condition holds.

    `dimensions` are the names and keys of which a key of several dimensions is made. `identifies_rows` is false where the
    conditions do not tell the partition's rows from those of others, because the key, or one of its dimensions, only chooses
    what is read. Such rows can be appended or upserted; they cannot be replaced.
    """

    key: str
    conditions: tuple[Condition, ...] = ()
    dimensions: tuple[tuple[str, str], ...] = ()
    identifies_rows: bool = True

    @property
    def placeholders(self) -> dict[str, str]:
        """What a template of paths or queries may name of a partition: `partition_key`, and its dimensions by name."""
        return {**dict(self.dimensions), "partition_key": self.key}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values say whether a row belongs to it."""
        return tuple(condition.column for condition in self.conditions)

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


WHOLE = Partition("all")
"""The one partition of a table that is loaded whole."""
