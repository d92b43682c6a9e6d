"""Try a row model on all rows of a file, as a load would, and count what it refuses."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from types import ModuleType

import polars as pl
from pydantic import BaseModel

from rowledger.contract import Contract, with_plain_texts
from rowledger.infer.dates_in_paths import DatedPath
from rowledger.infer.key_search import KeySearch
from rowledger.spec import FAULT, LINE, Source, TypeName

__all__ = ["Refused", "Trial", "row_model", "try_model"]

_NO_COLUMN = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The dead letters that the model would cause: by column (None for a line that is not a row) and reason, the most first."""

    rows: int = 0
    reasons: tuple[tuple[str | None, str, int], ...] = ()

    def of(self, column: str | None) -> int:
        """How many rows are refused first for that column."""
        return sum(count for name, _, count in self.reasons if name == column)

    @property
    def worst(self) -> str | None:
        """The column for which most rows are refused; None if only lines that are no rows are."""
        counts: Counter[str] = Counter()
        for name, _, count in self.reasons:
            if name is not None:
                counts[name] += count
        return counts.most_common(1)[0][0] if counts else None


def row_model(text: str, name: str) -> type[BaseModel]:
    """The row model that a module's text declares."""
    module = ModuleType("rowledger_inferred")
    exec(compile(text, "<inferred>", "exec"), module.__dict__)  # noqa: S102, the text of `module_text`
    model: type[BaseModel] = getattr(module, name)
    return model


@dataclass(frozen=True, slots=True)
class Trial:
    """What the model refuses, the fields that tell the other rows apart, and the first whose values all are in the window."""

    refused: Refused
    key: tuple[str, ...]
    partition_by: str | None


def try_model(
    model: type[BaseModel],
    source: Source,
    frames: Iterable[pl.DataFrame],
    key_fields: Sequence[str],
    path: DatedPath | None = None,
) -> Trial:
    """Try the model on the frames of the source. `key_fields` can be part of a key; `path` has the window of the rows.

    Raises SourceError for a column of a type that the model never takes, and ContractError.
    """
    contract = Contract.of(model)
    names = dict(zip(model.model_fields, (column.name for column in contract.columns), strict=True))
    fields = {column: name for name, column in names.items()}
    counts: Counter[tuple[str | None, str]] = Counter()
    search = KeySearch(key_fields)
    bounds = {} if path is None else _bounds(contract, path)
    for frame in frames:
        given = with_plain_texts(_without_faults(frame, counts), contract.rules, source)
        checked = contract.check(given, types_inferred=source.is_streamed)
        for letter in checked.rejected:
            counts[fields.get(letter.column or _NO_COLUMN, letter.column), letter.reason] += 1
        bounds = {name: own for name, own in bounds.items() if _are_within(checked.good[name], *own)}
        search.add(checked.good.rename(lambda name: fields.get(name, name)))
    refused = Refused(counts.total(), tuple((*place, count) for place, count in counts.most_common()))
    return Trial(refused, search.key(), next(map(fields.__getitem__, bounds), None) if search.rows else None)


def _bounds(contract: Contract, path: DatedPath) -> dict[str, tuple[date, date]]:
    """The bounds of the window, as values of each column of dates and timestamps."""
    return {
        column.name: window.bounds(column.type.name)
        for column in contract.columns
        if column.type.name in (TypeName.DATE, TypeName.TIMESTAMP, TypeName.TIMESTAMPTZ)
        and (window := path.partition(column.name).window) is not None
    }


def _are_within(values: pl.Series, lower: date, upper: date) -> bool:
    return not values.null_count() and bool(values.is_between(lower, upper, closed="left").all())


def _without_faults(frame: pl.DataFrame, counts: Counter[tuple[str | None, str]]) -> pl.DataFrame:
    if FAULT not in frame.columns:
        return frame
    faults = frame[FAULT].drop_nulls()
    for reason, count in faults.value_counts().iter_rows():
        counts[None, reason] += count
    return frame.filter(pl.col(FAULT).is_null()).drop(FAULT, LINE)
