"""A source column as read: its values, those that pydantic must judge, and those that are refused already."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from rowledger.contract.rules import FieldRules
from rowledger.spec import DECIMAL_TEXT

__all__ = [
    "INT64_MIN",
    "Family",
    "Reader",
    "Reading",
    "all_doubtful",
    "as_is",
    "blank",
    "family_of",
    "matching",
    "refuse_outside",
]

INT64_MIN = -(2**63)


@dataclass
class Reading:
    """A column as read: its values, those that pydantic must judge, and those that are refused already.

    `suspect` is a mask, or None if there are no suspects; `refused` holds masks with their reasons. `written` has decimals
    as text with the source's trailing zeros, if the source keeps them as text.
    """

    values: pl.Series
    suspect: pl.Series | None = None
    refused: list[tuple[pl.Series, str]] = field(default_factory=list)
    written: pl.Series | None = None

    def doubt(self, mask: pl.Series) -> None:
        """Add suspects; a null in the mask counts as one, except for a value that is null itself."""
        mask = mask.fill_null(value=True) & self.values.is_not_null() if mask.null_count() else mask
        if mask.any():
            self.suspect = mask if self.suspect is None else self.suspect | mask

    def refuse(self, mask: pl.Series, reason: str) -> None:
        """Refuse the marked values; a null in the mask marks none."""
        if mask.any():
            self.refused.append((mask.fill_null(value=False), reason))


def blank(values: pl.Series, mask: pl.Series) -> pl.Series:
    """The values, with null where the mask is true."""
    return pl.select(pl.when(~mask).then(values).alias(values.name)).to_series()


def as_is(_rules: FieldRules, source: pl.Series) -> Reading:
    """The reader of a column that already holds the field's kind."""
    return Reading(source)


def matching(source: pl.Series, pattern: str) -> pl.Series:
    """The values that match the pattern; the others are null."""
    plain = source.str.contains(pattern)
    return source if plain.all() else blank(source, ~plain)


def all_doubtful(rules: FieldRules, source: pl.Series) -> Reading:
    """The reader of a column whose every value goes to pydantic."""
    return Reading(pl.Series(source.name, dtype=rules.column.type.frame_type).clear(len(source)), source.is_not_null())


def refuse_outside(reading: Reading, ticks: pl.Series, limits: tuple[int, int]) -> None:
    """Refuse the values whose ticks are outside the limits, both of which are included."""
    low, high = ticks.min(), ticks.max()
    if low is not None and (low < limits[0] or high > limits[1]):  # type: ignore[operator]
        reading.refuse(~ticks.is_between(*limits), "is outside the years 1 to 9999")


Reader = Callable[[FieldRules, pl.Series], Reading]

# Families of source types that are read alike.
Family = Literal["bool", "integer", "float", "decimal", "text", "bytes", "date", "time", "naive", "aware", "duration"]
_FAMILIES: dict[type[pl.DataType], Family] = {
    pl.Boolean: "bool", pl.Decimal: "decimal", pl.String: "text", pl.Binary: "bytes",
    pl.Date: "date", pl.Time: "time", pl.Duration: "duration",
}  # fmt: skip


def family_of(dtype: pl.DataType) -> Family | None:
    """The family of a source column's type; None for one that no reader takes."""
    if isinstance(dtype, pl.Datetime):
        return "naive" if dtype.time_zone is None else "aware"
    if dtype == DECIMAL_TEXT:
        return "decimal"
    if dtype.is_integer():
        return "integer"
    return "float" if dtype.is_float() else _FAMILIES.get(type(dtype))
