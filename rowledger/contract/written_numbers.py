"""Numbers that a source writes with a decimal comma or with separated thousands, rewritten as the contract reads them.

Only a number that is written in exactly that way changes its meaning here. Any other text of a field of numbers, such as 1.5
where a comma is the decimal sign, becomes or stays a text that is no number, so its row is refused and nothing is guessed.
"""

import json
import re
from collections.abc import Sequence

import polars as pl

from rowledger.contract.dynamic import dynamic_texts
from rowledger.contract.kinds import Kind
from rowledger.contract.rules import FieldRules
from rowledger.errors import SpecError
from rowledger.spec import DYNAMIC, NumberFormat

__all__ = ["require_columns_of_numbers", "with_plain_numbers"]

_NUMBERS = {Kind.INT, Kind.FLOAT, Kind.DECIMAL}
_ALIKE = {" ": "[ \u00a0\u2007\u2009\u202f]", "'": "['\u2019]"}
"""The signs that are taken for a thousands separator, if not for it alone."""


def with_plain_numbers(frame: pl.DataFrame, rules: Sequence[FieldRules], written: NumberFormat) -> pl.DataFrame:
    """The frame with the texts of fields of numbers rewritten; all other columns are the same."""
    names = {name for rule in rules if _is_number(rule) for name in rule.sources} & set(frame.columns)
    return frame.with_columns(
        _plain_dynamic(frame[name], written) if frame.schema[name] == DYNAMIC else _plain(frame[name], written)
        for name in sorted(names)
        if frame.schema[name] in (pl.String(), DYNAMIC)
    )


def require_columns_of_numbers(model: str, rules: Sequence[FieldRules]) -> None:
    """Raise SpecError if a column of the source is read both by a field of numbers and by another field."""
    numbers = {name: rule.field for rule in rules if _is_number(rule) for name in rule.sources}
    for rule in rules:
        if not _is_number(rule) and (shared := next((name for name in rule.sources if name in numbers), None)):
            raise SpecError(
                f"{model}: the fields {numbers[shared]} and {rule.field} read the source's column {shared!r}, as a number and "
                "as something else, which `decimal` and `thousands` of the source do not go with; read it by one field"
            )


def _is_number(rule: FieldRules) -> bool:
    return {*(rule.alternatives or (rule.kind,))} <= _NUMBERS


def _grouped(written: NumberFormat) -> str:
    """A pattern of numbers with separated thousands. 0.123 is not one of them: it is a fraction in another format."""
    sign = _separator(written)
    return rf"^\s*[+-]?[1-9][0-9]{{0,2}}(?:{sign}[0-9]{{3}})+(?:{re.escape(written.decimal)}[0-9]*)?(?:[eE][+-]?[0-9]+)?\s*$"


def _separator(written: NumberFormat) -> str:
    return _ALIKE.get(written.thousands or "", re.escape(written.thousands or ""))


def _plain(texts: pl.Series, written: NumberFormat) -> pl.Series:
    values = pl.col(texts.name)
    frame = texts.to_frame()
    if written.thousands is not None:
        joined = values.str.replace_all(_separator(written), "")
        frame = frame.select(pl.when(values.str.contains(_grouped(written))).then(joined).otherwise(values))
    if written.decimal == ",":
        if frame.select(values.str.contains(".", literal=True).any()).item():
            frame = frame.select(values.str.replace_many([",", "."], [".", ","]))
        else:
            frame = frame.select(values.str.replace_all(",", ".", literal=True))
    return frame.to_series()


def _plain_dynamic(values: pl.Series, written: NumberFormat) -> pl.Series:
    """The same for a column of several types, as edited dead letters have it: only its texts are rewritten."""
    cells = dynamic_texts(values).to_list()
    is_text = [cell is not None and cell.lstrip().startswith('"') for cell in cells]
    texts = [json.loads(cell) for cell, is_one in zip(cells, is_text, strict=True) if is_one]
    plain = iter(_plain(pl.Series(values.name, texts, dtype=pl.String), written))
    return pl.Series(
        values.name,
        [
            {DYNAMIC.fields[0].name: json.dumps(next(plain)) if is_one else cell}
            for cell, is_one in zip(cells, is_text, strict=True)
        ],
        dtype=DYNAMIC,
    )
