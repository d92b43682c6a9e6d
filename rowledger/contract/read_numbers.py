"""Readers of booleans, integers, floats and decimals, by the type of the source's column."""

import polars as pl

from rowledger.contract.decimal_texts import one_scale
from rowledger.contract.kinds import EXACT_INTEGER_MAX, Kind
from rowledger.contract.reading import (
    INT64_MIN,
    Family,
    Reader,
    Reading,
    all_doubtful,
    as_is,
    blank,
    matching,
)
from rowledger.contract.rules import FieldRules
from rowledger.spec import DECIMAL_DIGITS_MAX

__all__ = ["NUMBERS"]

_PLAIN_INTEGER = r"^-?[0-9]{1,18}$"
_PLAIN_FLOAT = r"^-?[0-9]{1,17}(\.[0-9]{1,25})?$"
_FLOAT = r"^-?[0-9]{1,17}(\.[0-9]{1,25})?([eE][-+]?[0-9]{1,3})?$"
_DOUBLE_DIGITS = 15  # decimal digits that survive the conversion into a double and back
_UNDECLARED_SCALE = 9  # decimals of a double that is read for a numeric without declared digits; more make it a suspect


def _int(_rules: FieldRules, source: pl.Series) -> Reading:
    """Integers of up to 64 bits; larger ones are suspects."""
    return Reading(source.cast(pl.Int64, strict=False) if source.dtype in (pl.Int128, pl.UInt128) else source)


def _int_from_inexact(_rules: FieldRules, source: pl.Series) -> Reading:
    """Whole floats and decimals; pydantic words the refusal of others."""
    values = source.cast(pl.Int64, strict=False)
    reading = Reading(values)
    if values.min() == INT64_MIN:
        reading.doubt(values == INT64_MIN)  # pydantic rejects it as a float
    reading.doubt(values.cast(source.dtype, strict=False) != source)
    return reading


def _int_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    values = matching(source, _PLAIN_INTEGER)
    return Reading(values.cast(pl.Int64, strict=False))


def _bool_from_number(_rules: FieldRules, source: pl.Series) -> Reading:
    reading = Reading(source == 1)
    reading.doubt(~((source == 0) | (source == 1)))
    return reading


def _float(rules: FieldRules, source: pl.Series) -> Reading:
    reading = Reading(source)
    if rules.bounds or rules.finite:
        # Neither a comparison nor min() finds a NaN.
        reading.doubt(~source.is_finite())
    return reading


def _float_from_int(_rules: FieldRules, source: pl.Series) -> Reading:
    reading = Reading(source.cast(pl.Float64))
    low, high = source.min(), source.max()
    if low < -EXACT_INTEGER_MAX or high > EXACT_INTEGER_MAX:  # type: ignore[operator]
        reading.doubt(reading.values.abs() >= EXACT_INTEGER_MAX)
    return reading


def _float_from_decimal(_rules: FieldRules, source: pl.Series) -> Reading:
    """Up to 15 digits, a decimal and its nearest double determine each other; longer ones must be the digits of a double."""
    values = source.cast(pl.Float64)
    scale = source.dtype.scale  # type: ignore[attr-defined]
    reading = Reading(values)
    is_long = values.abs() >= 10.0 ** (_DOUBLE_DIGITS - scale)
    if is_long.any():
        reading.doubt(_differ(is_long, values, source))
    return reading


def _float_from_text(rules: FieldRules, source: pl.Series) -> Reading:
    """Texts of up to 15 digits, and those with the digits of a double; others may lose digits and are suspects."""
    are_plain = source.str.contains(_PLAIN_FLOAT)
    values = source if are_plain.all() else matching(source, _FLOAT)
    doubles = values.cast(pl.Float64, strict=False)
    reading = _float(rules, doubles)
    is_long = values.str.len_bytes() > _DOUBLE_DIGITS
    if not are_plain.all():
        is_long |= ~are_plain  # an exponent may be beyond double precision
    if is_long.any():
        if (is_other := is_long & (doubles.cast(pl.String) != values)).any():
            reading.doubt(_differ(is_other, doubles, values))
        if (is_large := is_long & (doubles.abs() > EXACT_INTEGER_MAX)).any():
            # An integer beyond 2^53 is refused, even one that a double holds.
            reading.doubt(is_large & ~values.str.contains("[.eE]"))
    return reading


def _differ(mask: pl.Series, doubles: pl.Series, given: pl.Series) -> pl.Series:
    """A mask of those marked by `mask` whose digits are not the shortest ones of the nearest double."""
    differ = _digits(doubles.filter(mask)) != _digits(given.filter(mask))
    return mask.scatter(mask.arg_true(), differ)


def _digits(numbers: pl.Series) -> pl.Series:
    """All digits of each number, without point, exponent, and zeros at the ends."""
    texts = numbers.cast(pl.String)
    return texts.str.replace("e.*$|E.*$", "").str.replace_all("[-+.]", "").str.strip_chars("0")


def _decimal_from_int(_rules: FieldRules, source: pl.Series) -> Reading:
    return Reading(source.cast(pl.Decimal(DECIMAL_DIGITS_MAX, 0), strict=False))


def _decimal_from_float(rules: FieldRules, source: pl.Series) -> Reading:
    """A double of up to 15 digits becomes its shortest decimal form, as in pydantic."""
    scale = _declared_scale(rules, _UNDECLARED_SCALE)
    doubles = source.cast(pl.Float64)
    plain = (doubles.abs() < 10.0 ** (_DOUBLE_DIGITS - scale)) & doubles.is_finite()
    values = blank(doubles, ~plain).cast(pl.Decimal(DECIMAL_DIGITS_MAX, scale), strict=False)
    reading = Reading(values)
    reading.doubt(values.cast(pl.Float64) != doubles)
    return reading


def _declared_scale(rules: FieldRules, otherwise: int) -> int:
    """The decimals of the contract's own column; `otherwise` for a numeric without declared digits."""
    declared = rules.column.type.frame_type
    return declared.scale if isinstance(declared, pl.Decimal) else otherwise


def _decimal_from_text(rules: FieldRules, source: pl.Series) -> Reading:
    scale = _declared_scale(rules, min(one_scale(source).scale, DECIMAL_DIGITS_MAX // 2))
    pattern = rf"^-?[0-9]{{1,{max(DECIMAL_DIGITS_MAX - scale, 1)}}}" + (rf"(\.[0-9]{{1,{scale}}})?$" if scale else "$")
    values = matching(source, pattern)
    return Reading(values.cast(pl.Decimal(DECIMAL_DIGITS_MAX, scale), strict=False), written=values)


NUMBERS: dict[Kind, dict[Family, Reader]] = {
    Kind.BOOL: {
        "bool": as_is, "integer": _bool_from_number, "float": _bool_from_number,
        "text": all_doubtful,
    },
    Kind.INT: {
        "integer": _int, "float": _int_from_inexact, "decimal": _int_from_inexact,
        "text": _int_from_text,
    },
    Kind.FLOAT: {
        "float": _float, "integer": _float_from_int, "decimal": _float_from_decimal,
        "text": _float_from_text,
    },
    Kind.DECIMAL: {
        "decimal": as_is, "integer": _decimal_from_int, "float": _decimal_from_float,
        "text": _decimal_from_text,
    },
}  # fmt: skip
