"""Validate rows one by one with pydantic, for models that have Python code of their own.

The verdicts and values are the same as those of the column pass, at a fraction of its speed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import polars as pl
from pydantic import BaseModel, ValidationError

from rowledger.contract.cells import ABSENT, field_values, unheld_cells
from rowledger.contract.core_schema import modules_in, names_in, reads_json_text
from rowledger.contract.fit_value import doubt_texts, fit_value
from rowledger.contract.json_fields import model_validator
from rowledger.contract.kinds import NULL_REASON, Kind
from rowledger.contract.missing_columns import ABSENT_REASON, field_column
from rowledger.contract.read_column import is_native, require_readable
from rowledger.contract.reading import Reading, blank
from rowledger.contract.refusal_reasons import place_of, words_of
from rowledger.contract.refusals import Refusals
from rowledger.contract.rules import FieldRules
from rowledger.contract.silent_conversions import conversion_made, silent_conversion
from rowledger.contract.target_types import fit_column
from rowledger.spec import DYNAMIC, ColumnType

__all__ = ["check_rows"]


_ABSENT_WORDS = "Field required [missing]"

# Kinds whose validated values become a column in one step, if all are of that type.
_AT_ONCE: dict[Kind, tuple[type, pl.DataType]] = {
    Kind.BOOL: (bool, pl.Boolean()), Kind.INT: (int, pl.Int64()), Kind.FLOAT: (float, pl.Float64()),
    Kind.TEXT: (str, pl.String()), Kind.BYTES: (bytes, pl.Binary()),
}  # fmt: skip


def check_rows(
    model: type[BaseModel],
    rules: Sequence[FieldRules],
    frame: pl.DataFrame,
    targets: Mapping[str, ColumnType],
    refusals: Refusals,
    on_progress: Callable[[int], None],
) -> list[pl.Series]:
    """The columns of the validated rows in the targets' frame types; the values of refused rows are undefined."""
    cells = [_cells(rule, targets[rule.name], frame, refusals) for rule in rules]
    keys = [rule.sources[0] for rule in rules]
    validated: list[dict[str, Any] | None] = []
    validator = _RowValidator(model, rules, refusals)
    for number in range(frame.height):
        values = (column[number] for column in cells)
        row = {key: value for key, value in zip(keys, values, strict=True) if value is not ABSENT}
        validated.append(validator.fields_of(row, number))
        on_progress(1)
    for rule, column in zip(rules, cells, strict=True):
        if rule.kind is Kind.JSON or rule.alternatives:
            for number, found in enumerate(validated):
                inside = None if found is None else conversion_made(rule, column[number], found.get(rule.field))
                if inside is not None:
                    refusals.add(number, rule.name, inside)
    return [_column(rule, targets[rule.name], validated, refusals) for rule in rules]


def _cells(rules: FieldRules, target: ColumnType, frame: pl.DataFrame, refusals: Refusals) -> Sequence[Any]:
    """The field's cells as pydantic gets them. Values that it would convert silently, or cannot hold, are refused here."""
    found = field_column(rules, frame)
    if found is None:
        return [ABSENT] * frame.height
    source, absent = found
    scalar = rules.kind not in {Kind.LIST, Kind.JSON, Kind.ANY} and not rules.by_value
    if scalar and source.dtype != DYNAMIC and not rules.is_taken_charge_of:
        require_readable(rules, source)
    for mask, unheld in unheld_cells(source):
        refusals.add_mask(mask, rules.name, unheld)
        source = blank(source, mask)
    values = field_values(rules, target, source)
    if not (scalar and is_native(rules, source.dtype)):
        for row, value in enumerate(values):
            if value is not None and (reason := silent_conversion(rules, value)) is not None:
                refusals.add(row, rules.name, reason)
    if absent is not None:
        values = [ABSENT if lacks else value for value, lacks in zip(values, absent, strict=True)]
    return values


class _RowValidator:
    """Validates rows, and turns pydantic's errors about them into reasons per column."""

    def __init__(self, model: type[BaseModel], rules: Sequence[FieldRules], refusals: Refusals) -> None:
        schema = model.__pydantic_core_schema__
        self._model = model
        self._validate = model_validator(model).validate_python if reads_json_text(schema) else model.model_validate
        self._names = names_in(schema)
        self._modules = modules_in(schema)
        self._columns = {rule.field: rule.name for rule in rules}
        self._columns |= {source: rule.name for rule in rules for source in rule.sources}
        self._refusals = refusals

    def fields_of(self, row: dict[str, Any], number: int) -> dict[str, Any] | None:
        """The validated row's fields; None if pydantic refuses the row."""
        try:
            instance = self._validate(row)
        except ValidationError as error:
            self._explain(error, number)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - the row model's own code: its failure refuses the row
            self._refusals.add(number, None, f"validating it raised {type(error).__name__}")
        else:
            if isinstance(instance, self._model):
                return instance.__dict__
            self._refusals.add(number, None, f"a validator made something of it that is no {self._model.__name__}")
        return None

    def _explain(self, error: ValidationError, row: int) -> None:
        known = {column for column in self._columns.values() if self._refusals.has(row, column)}
        for loc, words in words_of(error, self._modules):
            column = self._columns.get(str(loc[0])) if loc else None
            if column is not None and column in known:
                continue  # refused already: pydantic got a substitute, so its error means nothing
            if column is not None and loc[1:] == () and words == _ABSENT_WORDS:
                words = ABSENT_REASON  # noqa: PLW2901 - the same words, with the remedy
            place = place_of(loc if column is None else loc[1:], self._names)
            self._refusals.add(row, column, f"{place}: {words}" if place else words)


def _column(
    rules: FieldRules, target: ColumnType, rows: Sequence[dict[str, Any] | None], refusals: Refusals
) -> pl.Series:
    """One column of the validated rows, in exactly the values that the target holds."""
    values = [None if row is None else row.get(rules.field) for row in rows]
    if not rules.column.nullable:
        for number, value in enumerate(values):
            if value is None and rows[number] is not None:
                refusals.add(number, rules.name, NULL_REASON)
    reading = _read_at_once(rules, target, values)
    if reading is not None and reading.suspect is None:
        return reading.values.alias(rules.name)
    numbers: Iterable[int] = range(len(values))
    fitted: list[Any] = [None] * len(values)
    if reading is not None and reading.suspect is not None:
        numbers, fitted = reading.suspect.arg_true().to_list(), reading.values.to_list()
    for number in numbers:
        if values[number] is not None:
            verdict = fit_value(rules, target, values[number])
            if verdict.reason is not None:
                refusals.add(number, rules.name, verdict.reason)
            fitted[number] = verdict.value
    return pl.Series(rules.name, fitted, dtype=target.frame_type)


def _read_at_once(rules: FieldRules, target: ColumnType, values: list[Any]) -> Reading | None:
    """The values as a column, with suspects marked; None if each value must be fitted on its own."""
    if rules.kind not in _AT_ONCE or target.array:
        return None
    kind, dtype = _AT_ONCE[rules.kind]
    if not set(map(type, values)) <= {kind, type(None)}:
        return None
    try:
        reading = Reading(pl.Series(values, dtype=dtype, strict=True))
    except (OverflowError, TypeError, ValueError, pl.exceptions.PolarsError):
        return None
    reading.values = fit_column(reading, target)
    if rules.kind is Kind.TEXT and (unheld := doubt_texts(reading.values, target)) is not None:
        reading.doubt(unheld)
    return reading
