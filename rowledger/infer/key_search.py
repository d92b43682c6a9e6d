"""Find the columns whose values identify a row: each alone, then two or three together."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import polars as pl

__all__ = ["KeySearch"]

_COLUMNS_MAX = 10  # columns of which two or three are combined
_PARTS_MAX = 3
_TEXT_BYTES_MAX = 200
_USUAL_NAMES = ("id", "key", "uuid", "guid", "code", "no", "nr", "number")


class KeySearch:
    """Tests which columns, or groups of them, have no value twice. Rows are compared by 64-bit hashes.

    Two rows with the same hash are taken for equal, so a key can be missed, but none is found that is not one.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        """`columns` can be parts of a key: without nulls, and of a type that is compared exactly."""
        self._columns = list(columns)
        self._hashes: dict[tuple[str, ...], list[pl.Series]] | None = None
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
        """The best group: of the fewest columns, with a usual name, the first in the file; empty if there is none."""
        found = [
            group for group, parts in (self._hashes or {}).items() if parts and pl.concat(parts).n_unique() == self.rows
        ]
        return min(found, key=self._rank, default=()) if self.rows > 1 else ()

    def _rank(self, group: tuple[str, ...]) -> tuple[int, bool, list[int]]:
        is_usual = any(name.rsplit("_", 1)[-1] in _USUAL_NAMES for name in group)
        return len(group), not is_usual, [self._columns.index(name) for name in group]

    def _candidates(self, frame: pl.DataFrame) -> Iterator[tuple[str, ...]]:
        """The groups that the first chunk does not rule out, none of which contains another."""
        columns = [name for name in self._columns if _can_identify(frame[name])]
        unique = {name for name in columns if frame[name].n_unique() == frame.height}
        yield from ((name,) for name in columns if name in unique)
        varied = sorted((name for name in columns if name not in unique), key=lambda name: -frame[name].n_unique())
        parts = sorted(
            (name for name in varied[:_COLUMNS_MAX] if frame[name].n_unique() > 1 or frame.height == 1),
            key=self._columns.index,
        )
        found: list[tuple[str, ...]] = []
        for size in range(2, _PARTS_MAX + 1):
            for group in combinations(parts, size):
                if any(set(smaller) <= set(group) for smaller in found):
                    continue
                if _hashes(frame, group).n_unique() == frame.height:
                    found.append(group)
        yield from found


def _hashes(frame: pl.DataFrame, group: tuple[str, ...]) -> pl.Series:
    return frame.select(group).hash_rows()


def _can_identify(column: pl.Series) -> bool:
    if column.null_count():
        return False
    if column.dtype == pl.String:
        return int(column.str.len_bytes().max() or 0) <= _TEXT_BYTES_MAX  # type: ignore[arg-type]
    return not (column.dtype.is_float() or column.dtype.is_nested() or column.dtype == pl.Boolean)
