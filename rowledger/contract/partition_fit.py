"""Whether a load's partitions fit its table: usable keys, and columns that can distinguish the partitions."""

import functools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from rowledger.contract.check import Contract
from rowledger.errors import SpecError, UnknownPartition
from rowledger.spec import WHOLE, Equals, Partition, TableSpec, TypeName, Window, WriteMode

__all__ = ["as_partitions", "require_partitions", "require_types", "unusable_key"]

_KEY_BYTES_MAX = (
    1_000  # an index entry, in the ledger's database or Dagster's, has 2,704 bytes; two dimensions share it
)
_KEY_SHOWN = 40
_TIMES = frozenset({TypeName.DATE, TypeName.TIMESTAMP, TypeName.TIMESTAMPTZ})
_CLOCK_DAYS = 400  # before and after a window's year, for which its zone's clock changes are searched


def as_partitions(spec: TableSpec, given: Sequence[Partition | str]) -> tuple[Partition, ...]:
    """The partitions, each once. A key stands for the partition of its rows where it says which they are.

    It does for a column of values, such as texts or numbers, and where rows are only added. Raises TypeError for other keys.
    """
    if isinstance(given, str | Partition):
        raise TypeError(f"table {spec.name}: partitions are given as a list, even one; write [{_code(given)}]")
    each = [one if isinstance(one, Partition) else _partition_of_key(spec, one) for one in given]
    return tuple({partition.key: partition for partition in each}.values())


def _code(given: str | Partition) -> str:
    return f'"{given}"' if isinstance(given, str) else f'Partition("{given.key}", …)'


def _partition_of_key(spec: TableSpec, key: object) -> Partition:
    if not isinstance(key, str):
        raise TypeError(f"table {spec.name}: a partition is a Partition or a key, not of type {type(key).__name__}")
    if key == WHOLE.key and spec.partition_by is None:
        return WHOLE
    match spec.partition_by:
        case None:
            return Partition(key, identifies_rows=spec.write_mode is WriteMode.REPLACE)
        case str(column):
            types = {column.name: column.type.name for column in Contract.of(spec.row).columns}
            if types[column] not in _TIMES:
                return Partition(key, (Equals(column, key),))
            wanted = f'Partition("{key}", (Window("{column}", lower, upper),))'
            raise TypeError(
                f"table {spec.name}: the key {key!r} does not say from when to when the values of {column!r} are; give "
                f"{wanted}, where lower (included) and upper (excluded) are datetimes in UTC"
            )
        case dict(columns):
            wanted = f'Partition("{key}", (…), (…))'
            raise TypeError(
                f"table {spec.name}: the key {key!r} does not say which rows are meant; give {wanted} with a Window or an "
                f"Equals for each of the columns {', '.join(columns.values())}, and (name, key) for each of the dimensions "
                f"{', '.join(columns)}"
            )


def require_partitions(spec: TableSpec, partitions: Sequence[Partition]) -> None:
    """Raise UnknownPartition for a key that cannot be recorded, SpecError if partitions and spec do not fit each other.

    A load calls this before it connects to the server.
    """
    columns = sorted(spec.partition_columns)
    for partition in partitions:
        for key in [key for _, key in partition.dimensions] or [partition.key]:
            if reason := unusable_key(key):
                raise UnknownPartition(partition.key[:_KEY_SHOWN], reason)
        if sorted(partition.columns) != columns:
            raise SpecError(
                f"table {spec.name}: partition {partition.key} has conditions on the columns {sorted(partition.columns)}, and "
                f"partition_by names {columns}"
            )
        if partition.identifies_rows and not partition.conditions and partition != WHOLE:
            raise SpecError(
                f"table {spec.name}: partition {partition.key} has no conditions, so it is the whole table, whose key is "
                f"{WHOLE.key!r}; name the column that holds the partition by partition_by, or set identifies_rows=False"
            )
        if spec.write_mode is WriteMode.REPLACE and not partition.identifies_rows:
            raise SpecError(
                f"table {spec.name}: a partition's rows cannot be told from those of others, so they cannot be replaced; give "
                "its partitions a column that holds the key, or choose write mode append or upsert"
            )
    for names in {tuple(name for name, _ in partition.dimensions) for partition in partitions}:
        spec.require_placeholders(("partition_key", *names))
    require_types(spec, partitions)


def unusable_key(key: str) -> str:
    """Why Dagster's command line, a reader or an index cannot take the key; empty for a usable key."""
    if (length := len(key.encode(errors="replace"))) > _KEY_BYTES_MAX:
        return f"the key has {length} bytes; at most {_KEY_BYTES_MAX} are allowed"
    if not key or key != key.strip() or not key.isprintable() or "..." in key or "," in key:
        return (
            "a key must not be empty, hold ',' or '...', or begin or end with a blank, and all of it must be printable"
        )
    return ""


def require_types(spec: TableSpec, partitions: Iterable[Partition]) -> None:
    """Raise SpecError if the type of a column of the row model cannot distinguish these partitions."""
    types = {column.name: column.type.name for column in Contract.of(spec.row).columns}
    try:
        for partition in partitions:
            for condition in partition.conditions:
                match condition:
                    case Equals(column=column):
                        condition.value(types[column])
                    case Window(column=column):
                        _require_ordered(condition, types[column])
    except SpecError as error:
        raise SpecError(f"table {spec.name}: {error}") from None


def _require_ordered(window: Window, type_name: TypeName) -> None:
    """Raise SpecError if values of the type have no order in time, or if one of them may lie in two windows."""
    window.bounds(type_name)
    if type_name is TypeName.TIMESTAMPTZ:
        return
    if type_name is TypeName.DATE:
        bounds = [bound.astimezone(ZoneInfo(window.timezone)) for bound in (window.lower, window.upper)]
        if any(bound.time() != datetime.min.time() and bound != _first_instant(bound) for bound in bounds):
            raise SpecError(
                f"partition column {window.column!r} is a date, which has no hours, and this partition's days do not begin at "
                f"midnight in {window.timezone}"
            )
        return
    if window.upper - window.lower <= _clock_change(window.timezone, window.lower.year):
        raise SpecError(
            f"partition column {window.column!r} is a timestamp without zone, and in {window.timezone} an hour comes twice a "
            "year; make it a timestamptz, or let the hours be those of UTC"
        )


def _first_instant(bound: datetime) -> datetime:
    """The first instant of the local day, which is 01:00 in some zones on some days."""
    midnight = bound.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return midnight.astimezone(UTC).astimezone(bound.tzinfo)


@functools.cache
def _clock_change(timezone: str, year: int) -> timedelta:
    """The largest difference between the zone's UTC offsets around that year; zero if the clock never changes."""
    first = datetime(year, 1, 1, tzinfo=UTC) - timedelta(days=_CLOCK_DAYS)
    moments = (first + timedelta(days=day) for day in range(2 * _CLOCK_DAYS + 365))
    offsets = {moment.astimezone(ZoneInfo(timezone)).utcoffset() or timedelta() for moment in moments}
    return max(offsets) - min(offsets)
