"""Read a source column into the field's type, at column speed.

A value is converted here only if the result is certain to be pydantic's. Otherwise it is marked as a suspect, and pydantic
decides about it in `settle_suspects`. A value that Python cannot hold (nanoseconds, the year 10000) is refused here.
"""

import polars as pl

from rowledger.contract.decimal_texts import digits_of, one_scale
from rowledger.contract.kinds import Kind
from rowledger.contract.read_numbers import NUMBERS
from rowledger.contract.read_texts import TEXTS
from rowledger.contract.read_times import TIMES
from rowledger.contract.reading import Family, Reader, Reading, all_doubtful, blank, family_of
from rowledger.contract.rules import FieldRules
from rowledger.errors import SourceError
from rowledger.spec import DECIMAL_TEXT

__all__ = ["is_native", "is_readable", "read_column", "require_readable"]


def is_readable(rules: FieldRules, dtype: pl.DataType) -> bool:
    """Whether a column of that type can hold any non-null value of the field."""
    return _reader(rules, dtype) is not None or dtype == pl.Null()


def is_native(rules: FieldRules, dtype: pl.DataType) -> bool:
    """Whether a column of that type holds the field's kind without conversion."""
    return family_of(dtype) == next(iter(_READERS.get(rules.kind, ())), None)


def require_readable(rules: FieldRules, source: pl.Series) -> None:
    """Raise SourceError for a column of a type that can never fit."""
    if source.null_count() < len(source) and not is_readable(rules, source.dtype):
        raise SourceError(
            f"column {rules.name!r} is {source.dtype} in the source, which is never taken for a {rules.kind}"
            f"{_HINTS.get(rules.kind, '')}; change the row model or convert the source"
        )


def read_column(rules: FieldRules, source: pl.Series) -> Reading:
    """The column in a frame type natural to the field's kind; raises SourceError for a type that can never fit."""
    require_readable(rules, source)
    dtype = source.dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        source, dtype = source.cast(pl.String), pl.String()
    if source.null_count() == len(source):
        return Reading(pl.Series(source.name, dtype=rules.column.type.frame_type).clear(len(source)))
    if dtype == pl.Float16:
        source, dtype = source.cast(pl.Float32), pl.Float32()
    given, digits = source, None
    if dtype == DECIMAL_TEXT:
        digits = digits_of(source)
        source = digits.cast(one_scale(digits), strict=False)
    reader = _reader(rules, dtype)
    if reader is None or ((rules.allowed is not None or rules.is_strict) and not is_native(rules, dtype)):
        # Literal, Enum and strict fields compare without conversion; only pydantic knows what else they accept.
        return all_doubtful(rules, given)
    reading = reader(rules, source)
    if rules.kind is Kind.DECIMAL and digits is not None:
        reading.written = digits
    if reading.values.null_count() != given.null_count():
        reading.doubt(reading.values.is_null() & given.is_not_null())
    for mask, _ in reading.refused:
        reading.values = blank(reading.values, mask)
    return reading


def _reader(rules: FieldRules, dtype: pl.DataType) -> Reader | None:
    family = "text" if isinstance(dtype, pl.Categorical | pl.Enum) else family_of(dtype)
    return _READERS.get(rules.kind, {}).get(family) if family is not None else None


# The source types of each kind, its own type first. Pydantic's lax mode accepts more, but silently changes the meaning:
# True becomes 1, 1357000000 a date, a local time an instant.
_READERS: dict[Kind, dict[Family, Reader]] = {**NUMBERS, **TEXTS, **TIMES}

_HINTS = {
    Kind.TIMESTAMP: " (a field that holds instants is an AwareDatetime)",
    Kind.TIMESTAMPTZ: " (a field that holds local times is a NaiveDatetime)",
}
