"""Where refused rows are in the source, as texts."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["ROWS_COUNT_FROM_0", "RowPlace", "short_names", "told_rows"]

ROWS_COUNT_FROM_0 = "rows count from 0, without a header"


@dataclass(frozen=True, slots=True)
class RowPlace:
    """A row's number in its source, or in its partition where the source has no name."""

    row: int
    source: str
    partition_key: str


def short_names(sources: Iterable[str]) -> dict[str, str]:
    """The sources' names without their folders, or with as many of them as distinguish one from another."""
    distinct = set(sources)
    for parts in itertools.count(1):
        names = {source: "/".join(source.split("/")[-parts:]) for source in distinct}
        if len(set(names.values())) == len(distinct):
            return names
    raise AssertionError("numbers do not end")


def told_rows(places: Sequence[RowPlace], *, has_more: bool) -> str:
    """Each row with its source, or its partition, which rows of the same one share: `3, 7 of a.csv, 3 of b.csv, …`."""
    names = short_names(place.source for place in places)
    groups = itertools.groupby(places, lambda place: names[place.source] or f"partition {place.partition_key}")
    told = [(", ".join(str(place.row) for place in group), name) for name, group in groups]
    if len(told) == 1:
        ((rows, name),) = told
        return f"{rows}{', …' if has_more else ''} of {name}"
    return ", ".join([*(f"{rows} of {name}" for rows, name in told), *(["…"] if has_more else [])])
