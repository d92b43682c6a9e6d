"""What makes partitions of a spec and of keys: tests name partitions by their keys, as people do."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from rowledger.contract.check import Contract
from rowledger.spec.column import TypeName
from rowledger.spec.condition import Condition, Equals, Window
from rowledger.spec.partition import WHOLE, Partition
from rowledger.spec.table import TableSpec

DAYS_OF_MARCH = tuple(f"2024-03-{day:02}" for day in range(1, 32))

_TIMES = {TypeName.DATE, TypeName.TIMESTAMP, TypeName.TIMESTAMPTZ}
_NEW_YORK = {"flights", "ticks"}


def partition_maker(spec: TableSpec) -> Callable[[str], Partition]:
    """What makes the partition of a key of that table: a day in UTC of a column of times, unless the table is named here."""
    return lambda key: partition_of(spec, key)


def partitions_of(spec: TableSpec, keys: Iterable[str]) -> list[Partition]:
    """The partitions of these keys, in their order."""
    return [partition_of(spec, key) for key in keys]


def partition_of(spec: TableSpec, key: str) -> Partition:
    """The partition of one key."""
    match spec.partition_by:
        case None:
            return WHOLE if key == WHOLE.key else Partition(key, identifies_rows=False)
        case str(column):
            return Partition(key, (_condition(spec, column, key),))
        case dict(columns):
            dimensions = tuple(zip(sorted(columns), key.split("|"), strict=True))
            conditions = tuple(_condition(spec, columns[name], own) for name, own in dimensions)
            return Partition(key, conditions, dimensions)


def window_of_day(column: str, day: str, zone: str = "UTC") -> Window:
    """The values of a column that are of that day of the zone."""
    begin = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    return Window(column, begin.astimezone(UTC), (begin + timedelta(days=1)).astimezone(UTC), zone)


def _condition(spec: TableSpec, column: str, key: str) -> Condition:
    types = {found.name: found.type.name for found in Contract.of(spec.row).columns}
    if types[column] not in _TIMES:
        return Equals(column, key)
    match spec.name:
        case "ticks":
            return _window_of_hour(column, key)
        case "weekly":
            begin = window_of_day(column, key).lower
            return Window(column, begin, begin + timedelta(weeks=1))
        case "monthly":
            begin = window_of_day(column, key).lower
            return Window(column, begin, (begin + timedelta(days=31)).replace(day=1))
        case name:
            return window_of_day(column, key, "America/New_York" if name in _NEW_YORK else "UTC")


def _window_of_hour(column: str, key: str) -> Window:
    """Of `2024-11-03-01:00`; the second of an hour that comes twice has its offset behind it."""
    zone = "America/New_York"
    clock = datetime.fromisoformat(f"{key[:10]}T{key[11:16]}")
    begin = clock.replace(tzinfo=ZoneInfo(zone), fold=int(len(key) > len("2024-11-03-01:00"))).astimezone(UTC)
    return Window(column, begin, begin + timedelta(hours=1), zone)
