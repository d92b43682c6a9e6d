"""Collect rows of Python values, so that their columns can be taken out at once.

The values of rows that have the same columns lie one after another in one list, of which a slice with a step is a column.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Fault", "RowColumns"]

_Names = tuple[str, ...]
_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """An item that is not a row: the reason, and the bytes to show for it."""

    reason: str
    line: bytes


class _Absent:
    """The type of the mark for a value that a row lacks."""

    __slots__ = ()


_ABSENT = _Absent()


@dataclass(slots=True)
class _Run:
    """Successive rows, all with the columns `names`; `flat` has the values of a row after those of the previous one."""

    names: _Names
    rows: int = 0
    flat: list[Any] = field(default_factory=list)
    kinds: list[type] = field(default_factory=list)
    """The types of the values of the last row."""
    known_kinds: set[tuple[type, ...]] | None = field(default_factory=set)
    """The types of the values of each row, so that those of a column are known without a look at each value."""
    places: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.places = {name: place for place, name in enumerate(self.names)}

    def add(self, values: Sequence[Any]) -> None:
        """Add the values of a row."""
        self.flat += values
        self.rows += 1
        self.kinds = [*map(type, values)]
        if self.known_kinds is not None:
            self.known_kinds.add(tuple(self.kinds))

    def column(self, name: str, kinds: set[type]) -> Sequence[Any]:
        """The values of a column, whose types are added to `kinds`."""
        if (place := self.places.get(name)) is None:
            kinds.add(_Absent)
            return [_ABSENT] * self.rows
        values = self.flat[place :: len(self.names)]
        if self.known_kinds is None:
            kinds.update(map(type, values))
        else:
            kinds.update([row_kinds[place] for row_kinds in self.known_kinds])
        return values


class RowColumns:
    """Rows and faults, in their order."""

    def __init__(self) -> None:
        self.run = _Run(())
        """The last run, to which a caller may add a row like the last one."""
        self._runs = [self.run]
        self._earlier_rows = 0
        self._faults: dict[int, Fault] = {}
        self._orders: dict[int, _Names] = {}

    def __len__(self) -> int:
        return self._earlier_rows + self.run.rows

    def add(self, names: _Names, values: Sequence[Any]) -> None:
        """Add a row: the names of its columns, and its plain values."""
        run = self.run
        if names != run.names:
            row = dict(zip(names, values, strict=True))
            if row.keys() <= run.places.keys():  # in another order, or without some
                self._orders[len(self)] = names
                values = [row.get(name, _ABSENT) for name in run.names]
            else:
                if not len(self):
                    self._runs.clear()
                else:
                    self._orders[len(self)] = names
                    row = {**dict.fromkeys(run.names, _ABSENT), **row}
                    values = list(row.values())
                self._earlier_rows = len(self)
                run = self.run = _Run(tuple(row))
                self._runs.append(run)
        run.add(values)

    def add_alike(self, names: _Names, rows: Sequence[Sequence[Any]]) -> None:
        """Add the first rows: the names of their columns, and the plain values of each."""
        self.run = _Run(names, len(rows), list(itertools.chain.from_iterable(rows)), known_kinds=None)
        self._runs = [self.run]

    def add_fault(self, fault: Fault) -> None:
        """Add an item that is not a row."""
        self._faults[len(self)] = fault
        self.run.add([None] * len(self.run.names))

    def last_row_bytes(self) -> int:
        """The approximate size of the last row; a number or a nested value counts as 8 bytes."""
        if (fault := self._faults.get(len(self) - 1)) is not None:
            return len(fault.line)
        run = self.run
        values = run.flat[len(run.flat) - len(run.names) :]
        present = [value for value in values if value is not _ABSENT] if _Absent in run.kinds else values
        return sum([len(value) if type(value) is str or type(value) is bytes else 8 for value in present])

    def column(self, name: str, first: int = 0) -> tuple[Sequence[Any], set[type], list[bool] | None]:
        """The values of a column, their types, and which rows lack it; None if none lacks it. What a row lacks is None.

        The values are those of the rows from number `first` on.
        """
        kinds: set[type] = set()
        parts = [run.column(name, kinds) for run in self._runs]
        values = parts[0] if len(parts) == 1 else list(itertools.chain.from_iterable(parts))
        if first:
            values = values[first:]
            kinds = set(map(type, values))
        if _Absent not in kinds:
            return values, kinds, None
        kinds.remove(_Absent)
        kinds.add(type(None))
        absent = [value is _ABSENT for value in values]
        for row in self._faults:
            if row >= first:
                absent[row - first] = False
        return [None if value is _ABSENT else value for value in values], kinds, absent if any(absent) else None

    def faults(self, first: int = 0) -> list[Fault | None] | None:
        """The fault of each row from number `first` on; None if no row is one."""
        found = [self._faults.get(row) for row in range(first, len(self))] if self._faults else []
        return found if any(found) else None

    def __iter__(self) -> Iterator[_Row | Fault]:
        """The rows as they were added, and the faults."""
        number = 0
        for run in self._runs:
            width = len(run.names)
            for first in range(0, run.rows * width, width) if width else [0] * run.rows:
                if (fault := self._faults.get(number)) is not None:
                    yield fault
                else:
                    row = dict(zip(run.names, run.flat[first : first + width], strict=True))
                    yield {name: row[name] for name in self._orders.get(number, run.names)}
                number += 1
