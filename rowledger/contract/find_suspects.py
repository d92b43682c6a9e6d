"""The rules of a scalar column, checked against its values: reductions first, a mask only if one shows a violation."""

from typing import Any

import polars as pl

from rowledger.contract.kinds import Kind
from rowledger.contract.reading import Reading
from rowledger.contract.rules import Bound, FieldRules

__all__ = ["doubt_violations"]

_COMPARED_MAX = 8  # number of texts up to which comparing with each takes a half to a third of the time of a lookup


def doubt_violations(rules: FieldRules, reading: Reading) -> None:
    """Mark the values that seem to break a bound, a length, a step, a pattern or a list of allowed values."""
    if rules.strips:
        reading.values = reading.values.str.strip_chars()
    values = reading.values
    if values.null_count() == len(values):
        return
    for bound in rules.bounds:
        extreme = values.min() if bound.op in ("ge", "gt") else values.max()
        if not bound.holds(extreme):
            reading.doubt(_outside(values, bound))
    if rules.multiple_of is not None:
        reading.doubt(values % rules.multiple_of != 0)
    if rules.min_length is not None or rules.max_length is not None:
        _doubt_lengths(rules, reading)
    if rules.pattern is not None:
        reading.doubt(~values.str.contains(rules.pattern))
    if rules.allowed is not None:
        reading.doubt(~_is_one_of(values, list(rules.allowed)))
    if rules.case is not None:
        # Beyond ASCII, a letter's case may depend on its neighbours and on the version of Unicode, so pydantic decides.
        reading.doubt(~values.str.contains(r"^[\x00-\x7F]*$"))
        reading.values = values.str.to_lowercase() if rules.case == "lower" else values.str.to_uppercase()


def _is_one_of(values: pl.Series, allowed: list[Any]) -> pl.Series:
    """A mask of the values that are in `allowed`; null for a null."""
    if len(allowed) > _COMPARED_MAX or not isinstance(values.dtype, pl.String):
        return values.is_in(allowed)
    found: pl.Series = values == allowed[0]
    for value in allowed[1:]:
        found |= values == value
    return found


def _outside(values: pl.Series, bound: Bound) -> pl.Series:
    """A mask of the values that break the bound; all of them if polars cannot compare with it, so that pydantic decides."""
    try:
        inside: pl.Series = bound.holds(values)
    except (pl.exceptions.PolarsError, OverflowError, TypeError):
        return pl.repeat(value=True, n=len(values), eager=True)
    return ~inside


def _doubt_lengths(rules: FieldRules, reading: Reading) -> None:
    values = reading.values
    if rules.kind is Kind.TEXT:
        # A text has at most as many characters as bytes, and at least one if it has bytes: counting is often unnecessary.
        octets = values.str.len_bytes()
        is_short = rules.max_length is None or octets.max() <= rules.max_length  # type: ignore[operator]
        is_long = rules.min_length is None or (rules.min_length <= 1 and octets.min() >= rules.min_length)  # type: ignore[operator]
        if is_short and is_long:
            return
    lengths = values.str.len_chars() if rules.kind is Kind.TEXT else values.bin.size()
    if rules.min_length is not None and lengths.min() < rules.min_length:  # type: ignore[operator]
        reading.doubt(lengths < rules.min_length)
    if rules.max_length is not None and lengths.max() > rules.max_length:  # type: ignore[operator]
        reading.doubt(lengths > rules.max_length)
