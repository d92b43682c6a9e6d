"""The options by which a command names partitions without Dagster, and the partitions that they name."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from rowledger.cli.recorded_partitions import RecordedPartitions
from rowledger.contract import Contract
from rowledger.errors import UnknownPartition
from rowledger.spec import (
    WHOLE,
    Cadence,
    Condition,
    Equals,
    Partition,
    TableSpec,
    TypeName,
    Window,
    WriteMode,
    keys_between,
    window_bounds,
)

__all__ = ["NamedPartitions", "names_partitions"]

F = TypeVar("F", bound=Callable[..., Any])

_VALUE = "value"
_UNITS = (*Cadence, _VALUE)
_TIMES = frozenset({TypeName.DATE, TypeName.TIMESTAMP, TypeName.TIMESTAMPTZ})
_SINGLE = ""  # the name of the only dimension
_RANGE = "..."


def names_partitions(command: F) -> F:
    """Add the options that name partitions; the command gets them as `named`, a NamedPartitions."""

    @functools.wraps(command)
    def with_named(
        *arguments: Any,  # noqa: ANN401 - the command's own
        partitions: Sequence[str],
        partition_ranges: Sequence[str],
        by: Sequence[str],
        timezone: str,
        **options: Any,  # noqa: ANN401
    ) -> object:
        named = NamedPartitions(tuple(partitions), tuple(partition_ranges), _units(by), _zone(timezone))
        return command(*arguments, named=named, **options)

    options = [
        click.option(
            "--partition", "partitions", multiple=True, metavar="KEY", help="A partition; may be given again."
        ),
        click.option(
            "--partition-range",
            "partition_ranges",
            multiple=True,
            metavar="FIRST...LAST",
            help="All time windows from one to another; may be given again.",
        ),
        click.option(
            "--by",
            multiple=True,
            metavar=f"[{'|'.join(_UNITS)}]",
            help="What one key names: a time window, or a value of the column. Where keys have two dimensions, "
            "DIMENSION=UNIT for each. Not needed for partitions that were loaded before.",
        ),
        click.option("--timezone", default="UTC", show_default=True, help="The time zone in which windows begin."),
    ]
    for option in reversed(options):
        with_named = option(with_named)
    return with_named  # type: ignore[return-value] # as click's own decorators


def _units(given: Sequence[str]) -> dict[str, str]:
    units = {}
    for text in given:
        name, _, unit = text.rpartition("=")
        if unit not in _UNITS or name in units:
            raise click.BadParameter(
                f"{text!r} is not one of {', '.join(_UNITS)}, or DIMENSION=UNIT", param_hint="--by"
            )
        units[name] = unit
    return units


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise click.BadParameter(f"{name!r} is no time zone of the IANA", param_hint="--timezone") from None


@dataclass(frozen=True)
class NamedPartitions:
    """The partitions that a command's options name."""

    keys: tuple[str, ...]
    ranges: tuple[str, ...]
    units: Mapping[str, str]
    zone: ZoneInfo

    @property
    def are_given(self) -> bool:
        """Whether the options name any."""
        return bool(self.keys or self.ranges)

    def of(self, spec: TableSpec, read_recorded: Callable[[Sequence[str]], RecordedPartitions]) -> list[Partition]:
        """The table's partitions, each once.

        `read_recorded` returns what the ledger has of these keys. Without `--by` a key has the bounds that it was loaded
        with before. Raises click.UsageError, which ends the command with exit code 2, also for a partition that has other
        bounds than its published rows, or that overlaps another published partition.
        """
        try:
            return self._of(_Dimensions(spec, self.units, self.zone), spec, read_recorded)
        except UnknownPartition as error:
            raise click.UsageError(str(error)) from None

    def _of(
        self, dimensions: "_Dimensions", spec: TableSpec, read_recorded: Callable[[Sequence[str]], RecordedPartitions]
    ) -> list[Partition]:
        if not self.keys and not self.ranges:
            if spec.partition_by is None:
                return [WHOLE]
            raise click.UsageError(
                f"table {spec.name} is partitioned by {', '.join(spec.partition_columns)}; name partitions by --partition KEY "
                "or --partition-range FIRST...LAST"
            )
        if spec.partition_by is None and spec.write_mode is WriteMode.REPLACE:
            raise click.UsageError(
                f"table {spec.name} is loaded as a whole, since its spec has no partition_by; leave --partition out"
            )
        keys = list(dict.fromkeys([*self.keys, *itertools.chain(*map(dimensions.keys_in, self.ranges))]))
        recorded = read_recorded(keys)
        found = []
        for key in keys:
            known = recorded.of(key)
            if self.units or known is None:
                partition = dimensions.partition(key)
                recorded.require_room_for(partition)
                found.append(partition)
            else:
                found.append(known)
        return found


class _Dimensions:
    """What the keys of a table name: by dimension, in the order in which a key names them, the column and the unit."""

    def __init__(self, spec: TableSpec, units: Mapping[str, str], zone: ZoneInfo) -> None:
        self._spec = spec
        self._units = units
        self._zone = zone
        self._types = {column.name: column.type.name for column in Contract.of(spec.row).columns}
        match spec.partition_by:
            case None:
                self._columns: dict[str, str] = {}
            case str(column):
                self._columns = {_SINGLE: column}
            case dict(columns):
                self._columns = dict(columns)
        named = {name for name in units if name}
        if named and isinstance(spec.partition_by, str):
            raise click.BadParameter(
                f"the keys of table {spec.name} have one dimension; give a unit", param_hint="--by"
            )
        # A dimension that no column holds is named by its unit alone.
        self._names = sorted({*self._columns, *named}) or [_SINGLE]
        if _SINGLE in units and self._names != [_SINGLE]:
            told = f"the keys of table {spec.name} are written {'|'.join(self._names)}; give DIMENSION=UNIT for each"
            raise click.BadParameter(told, param_hint="--by")

    def partition(self, key: str) -> Partition:
        """The partition of one key."""
        parts = self._split(key)
        conditions = tuple(
            condition for name, own in parts.items() if (condition := self._condition(name, own)) is not None
        )
        dimensions = () if _SINGLE in parts else tuple(parts.items())
        return Partition(key, conditions, dimensions, identifies_rows=len(self._columns) == len(parts))

    def keys_in(self, given: str) -> Iterator[str]:
        """The keys of a range; with two dimensions all pairs of the keys of each."""
        first, separator, last = given.partition(_RANGE)
        if not separator:
            raise click.BadParameter(f"{given!r} is not FIRST...LAST", param_hint="--partition-range")
        ends = zip(self._split(first).items(), self._split(last).values(), strict=True)
        for own in itertools.product(*(self._keys_between(name, begin, end) for (name, begin), end in ends)):
            yield "|".join(own)

    def _split(self, key: str) -> dict[str, str]:
        if self._names == [_SINGLE]:
            return {_SINGLE: key}
        parts = key.split("|")
        if len(parts) != len(self._names):
            raise UnknownPartition(key, f"the keys of table {self._spec.name} are written {'|'.join(self._names)}")
        return dict(zip(self._names, parts, strict=True))

    def _keys_between(self, name: str, first: str, last: str) -> list[str]:
        if (unit := self._unit(name, first)) != _VALUE:
            return list(keys_between(Cadence(unit), first, last, self._zone))
        if first != last:
            raise UnknownPartition(f"{first}{_RANGE}{last}", "values have no order; name each by --partition")
        return [first]

    def _condition(self, name: str, key: str) -> Condition | None:
        unit, column = self._unit(name, key), self._columns.get(name)
        if unit == _VALUE:
            return Equals(column, key) if column else None
        start, end = window_bounds(Cadence(unit), key, self._zone)
        return Window(column, start, end, self._zone.key) if column else None

    def _unit(self, name: str, key: str) -> str:
        if (unit := self._units.get(name)) is not None:
            return unit
        column = self._columns.get(name)
        if column is None or self._types[column] not in _TIMES:
            return _VALUE
        option = f"--by {f'{name}=' if name else ''}"
        raise click.UsageError(
            f"table {self._spec.name}: column {column!r} is {self._types[column]}, and the key {key!r} does not say how long "
            f"its window is: give {option}day (or hour, week, month, year, value), and --timezone where it is not UTC"
        )
