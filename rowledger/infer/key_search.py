"""Find the columns whose values identify a row: each alone, then two or three together, if they do not differ by accident."""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import polars as pl

from rowledger.infer.key_evidence import identifies_alone, identifies_together, is_moment, named_as_keys

__all__ = ["KeySearch"]

_COLUMNS_MAX = 10  # columns of which two or three are combined
_PARTS_MAX = 3
_SPREAD_MAX = 2_000
_SPREAD_OF_NUMBERS_MAX = 3
"""How many combinations of values a group may have for each row. Columns with many values are different by accident."""
_TEXT_BYTES_MAX = 200
_HALF = 0.5


class KeySearch:
    """Tests which columns, or groups of them, have no value twice. Rows are compared by 64-bit hashes.

    Two rows with the same hash are taken for equal, so a key can be missed, but none is found that is not one.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        """`columns` can be parts of a key: without nulls or fractions, and of a type that is compared exactly."""
        self._columns = list(columns)
        self._named: frozenset[str] = frozenset()
        self._hashes: dict[tuple[str, ...], list[pl.Series]] | None = None
        self._is_number: dict[str, bool] = {}
        self._spread: dict[tuple[str, ...], float] = {}
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Take the rows of one chunk."""
        if frame.is_empty():
            return
        self.rows += frame.height
        if self._hashes is None:
            self._hashes = {group: [] for group in self._candidates(frame)}
        for group in list(self._hashes):
            if any(frame[name].null_count() for name in group):
                del self._hashes[group]
                continue
            hashes = _hashes(frame, group)
            if hashes.n_unique() < len(hashes):
                del self._hashes[group]
                continue
            self._hashes[group].append(hashes)

    def key(self) -> tuple[str, ...]:
        """The best group, by its columns' names, types and places in the file; empty if there is none."""
        if self.rows <= 1:
            return ()
        found = [
            group for group, parts in (self._hashes or {}).items() if parts and pl.concat(parts).n_unique() == self.rows
        ]
        return min(found, key=self._rank, default=())

    def _rank(self, group: tuple[str, ...]) -> tuple[int, bool, int, float, list[int]]:
        """A column that is named as a key comes first, then names and times, then groups of them, and numbers last."""
        places = [self._columns.index(name) for name in group]
        is_named = any(name in self._named for name in group)
        is_number = all(self._is_number[name] for name in group)
        if len(group) == 1:
            return (0 if is_named else 1 if places == [0] else 4 if is_number else 2), False, 1, 0, places
        spread = self._spread.get(group, 1.0)
        has_gaps = spread > 1  # other than a table of all combinations
        return (3 if not is_number or is_named else 5), has_gaps, len(group), spread, places

    def _candidates(self, frame: pl.DataFrame) -> Iterator[tuple[str, ...]]:
        """The groups that the first chunk does not rule out, none of which contains another."""
        columns = [name for name in self._columns if _can_identify(frame[name])]
        different = {name: frame[name].n_unique() for name in columns}
        self._named = named_as_keys(frame.columns)
        self._is_number = {name: frame[name].dtype.is_numeric() for name in columns}
        unique = [name for name in columns if different[name] == frame.height]
        subject = _subject(frame, columns)
        unnamed = [frame[name] for name in frame.columns if name not in self._named]
        for name in unique:
            if name in self._named:
                yield (name,)
                continue
            others = [other for other in unnamed if other.name != name]
            if identifies_alone(frame[name], others, is_first=name == frame.columns[0]):
                # A file of one station: the next one has the same days.
                yield (subject, name) if subject is not None and is_moment(frame[name]) else (name,)
        # A number that hardly ever comes twice is a measure, with whatever it is combined.
        varied = sorted(
            (
                name
                for name in columns
                if name not in unique
                and not (self._may_be_measure(frame[name]) and different[name] > _HALF * frame.height)
            ),
            key=lambda name: -different[name],
        )
        parts = sorted(
            (name for name in varied[:_COLUMNS_MAX] if different[name] > 1),
            key=self._columns.index,
        )
        found: list[tuple[str, ...]] = []
        for size in range(2, _PARTS_MAX + 1):
            for group in combinations(parts, size):
                if any(set(smaller) <= set(group) for smaller in found):
                    continue
                combined = math.prod(different[name] for name in group)
                spread = combined / frame.height
                may_be_one = identifies_together([frame[name] for name in group], combined) and spread <= (
                    _SPREAD_MAX if not all(self._is_number[name] for name in group) else _SPREAD_OF_NUMBERS_MAX
                )
                if may_be_one and _hashes(frame, group).n_unique() == frame.height:
                    self._spread[group] = spread
                    found.append(group)
        yield from found

    def _may_be_measure(self, column: pl.Series) -> bool:
        return column.dtype.is_numeric() and column.name not in self._named and not is_moment(column)


def _subject(frame: pl.DataFrame, columns: Sequence[str]) -> str | None:
    """The first column of texts, if it has one value alone."""
    first = next((name for name in columns if frame[name].dtype == pl.String), None)
    return first if first is not None and frame[first].n_unique() == 1 else None


def _hashes(frame: pl.DataFrame, group: tuple[str, ...]) -> pl.Series:
    return frame.select(group).hash_rows()


def _can_identify(column: pl.Series) -> bool:
    if column.null_count():
        return False
    if column.dtype == pl.String:
        return int(column.str.len_bytes().max() or 0) <= _TEXT_BYTES_MAX  # type: ignore[arg-type]
    return not (column.dtype.is_float() or column.dtype.is_nested() or column.dtype == pl.Boolean)
