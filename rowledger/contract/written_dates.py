"""Dates that a source writes in another notation than ISO's, such as 31.12.2024, rewritten as the contract reads them.

A text that has none of the source's formats stays as it is, so the contract refuses it unless it is in ISO's notation.
"""

import re
from collections.abc import Sequence

import polars as pl

from rowledger.contract.kinds import Kind
from rowledger.contract.rules import FieldRules
from rowledger.errors import SpecError

__all__ = ["require_columns_of_dates", "with_iso_dates"]

_YEAR_MIN = 1000  # %Y also reads a year of two digits, which would be one of the first century
_ISO = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
_NEVER_ISO = re.compile(r"%[dmyHI][^%\s\d]|%Y[^%\s\d-]|%[bBp]|[^%\s\d]")
"""The beginnings of formats that no text in ISO's notation has: it begins with four digits and a hyphen."""


def with_iso_dates(frame: pl.DataFrame, rules: Sequence[FieldRules], formats: Sequence[str]) -> pl.DataFrame:
    """The frame with the texts of dates and timestamps rewritten; all other columns are the same."""
    kinds = {name: rule.kind for rule in rules if _is_date(rule) for name in rule.sources}
    return frame.with_columns(
        _iso(frame[name], formats, is_date=kind is Kind.DATE)
        for name, kind in sorted(kinds.items())
        if frame.schema.get(name) == pl.String()
    )


def require_columns_of_dates(model: str, rules: Sequence[FieldRules]) -> None:
    """Raise SpecError if a column of the source is read both by a field of dates and by one of another kind."""
    dates = {name: rule for rule in rules if _is_date(rule) for name in rule.sources}
    for rule in rules:
        shared = next((name for name in rule.sources if name in dates and dates[name].kind is not rule.kind), None)
        if shared is not None:
            raise SpecError(
                f"{model}: the fields {dates[shared].field} and {rule.field} read the source's column {shared!r}, as a date "
                "and as something else, which `date_formats` of the source do not go with; read it by one field"
            )


def _is_date(rule: FieldRules) -> bool:
    return rule.kind in (Kind.DATE, Kind.TIMESTAMP) and not rule.alternatives


def _iso(texts: pl.Series, formats: Sequence[str], *, is_date: bool) -> pl.Series:
    """The texts, those that have one of the formats in ISO's notation."""
    # A saving alone: a text's value must not depend on the other texts, so formats that read ISO texts are never left out.
    if texts.str.contains(_ISO).all():
        formats = [form for form in formats if not _NEVER_ISO.match(form)]
    if not formats:
        return texts
    found = pl.Series(texts.name, [None], dtype=pl.String).new_from_index(0, len(texts))
    for form in formats:
        if found.null_count() == texts.null_count():
            break
        found = found.zip_with(found.is_not_null(), _in_format(texts, form, is_date=is_date))
    return found.zip_with(found.is_not_null(), texts)


def _in_format(texts: pl.Series, form: str, *, is_date: bool) -> pl.Series:
    """The texts of this format in ISO's notation; the others are null."""
    if "%H" in form or "%I" in form:
        moments = texts.str.to_datetime(form, time_unit="us", strict=False)
        written = moments.dt.to_string("%Y-%m-%d %H:%M:%S")
    else:
        moments = texts.str.to_date(form, strict=False)
        written = moments.dt.to_string("%Y-%m-%d" if is_date else "%Y-%m-%d 00:00:00")
    has_year = moments.dt.year() >= _YEAR_MIN
    return pl.select(pl.when(has_year).then(written)).to_series() if len(texts) else written
