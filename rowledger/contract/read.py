"""Read a source column as what the row model wants, at column speed.

A value that is converted here is certain to be what pydantic would make of it. One that is not certain is marked as a
suspect, and pydantic itself decides about it in `explain`. One that Python cannot even hold (nanoseconds, the year
10000) is refused here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import polars as pl
from pydantic import ValidationError

from rowledger.contract.decimal_texts import decimals_of, digits_of
from rowledger.contract.rules import FieldRules, Kind
from rowledger.errors import SourceError
from rowledger.spec import DECIMAL_TEXT

__all__ = ["Reading", "blank", "is_native", "is_readable", "read_column", "require_readable", "unheld"]

_PLAIN_INTEGER = r"^-?[0-9]{1,18}$"
_PLAIN_FLOAT = r"^-?[0-9]{1,17}(\.[0-9]{1,25})?$"
_PLAIN_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_PLAIN_TIME = r"^[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6})?$"
_PLAIN_TIMESTAMP = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6})?$"
_PLAIN_INSTANT = _PLAIN_TIMESTAMP[:-1] + r"(Z|[+-][0-9]{2}:[0-9]{2})$"
_PLAIN_DURATION = r"^-?[0-9]{2}:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?$"
_PLAIN_UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

_FLOAT_EXACT_INTEGER = 2**53
_DOUBLE_DIGITS = 15  # decimal digits that survive the way into a double and back
_DECIMAL_DIGITS = 38  # what a 128-bit decimal holds
_UNDECLARED_SCALE = 9  # decimals of a double read for a numeric without declared digits; one that has more is looked at
_EPOCH_DAYS = (-719_162, 2_932_896)  # 0001-01-01 and 9999-12-31, what Python's date holds
_INT64_MIN = -(2**63)
_UUID_BYTES = 16
_DAY_US = 86_400_000_000


# Source types that are read alike.
_Family = Literal["bool", "integer", "float", "decimal", "text", "bytes", "date", "time", "naive", "aware", "duration"]

_FAMILIES: dict[type[pl.DataType], _Family] = {
    pl.Boolean: "bool", pl.Decimal: "decimal", pl.String: "text", pl.Binary: "bytes",
    pl.Date: "date", pl.Time: "time", pl.Duration: "duration",
}  # fmt: skip


def _family(dtype: pl.DataType) -> _Family | None:
    if isinstance(dtype, pl.Datetime):
        return "naive" if dtype.time_zone is None else "aware"
    if dtype == DECIMAL_TEXT:
        return "decimal"
    if dtype.is_integer():
        return "integer"
    return "float" if dtype.is_float() else _FAMILIES.get(type(dtype))


@dataclass
class Reading:
    """A column as read: its values, which of them pydantic must look at, and which are refused already.

    `suspect` is a mask, or None when there are no suspects; `refused` holds masks with the reason each stands for. `written`
    has decimals with as many zeros as the source shows, where it keeps them as text.
    """

    values: pl.Series
    suspect: pl.Series | None = None
    refused: list[tuple[pl.Series, str]] = field(default_factory=list)
    written: pl.Series | None = None

    def doubt(self, mask: pl.Series) -> None:
        """Add suspects; a null in the mask counts as one."""
        mask = mask.fill_null(value=True) if mask.null_count() else mask
        if mask.any():
            self.suspect = mask if self.suspect is None else self.suspect | mask


_Reader = Callable[[FieldRules, pl.Series], Reading]
_NO_RULES: Any = None  # for readers that go by the values alone


def is_readable(rules: FieldRules, dtype: pl.DataType) -> bool:
    """Whether a column of that type can hold values of the field at all, nulls apart."""
    return _reader(rules, dtype) is not None or dtype == pl.Null()


def is_native(rules: FieldRules, dtype: pl.DataType) -> bool:
    """Whether a column of that type holds values of the field's kind as they are."""
    return _family(dtype) == next(iter(_READERS.get(rules.kind, ())), None)


def require_readable(rules: FieldRules, source: pl.Series) -> None:
    """Raise SourceError for a column of a type that can never fit."""
    if source.null_count() < len(source) and not is_readable(rules, source.dtype):
        raise SourceError(
            f"column {rules.name!r} is {source.dtype} in the source, which is never taken for a {rules.kind}"
            f"{_HINTS.get(rules.kind, '')}; change the row model or convert the source"
        )


def read_column(rules: FieldRules, source: pl.Series) -> Reading:
    """The column in a frame type natural to its kind; raises SourceError for a type that can never fit."""
    require_readable(rules, source)
    dtype = source.dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        source, dtype = source.cast(pl.String), pl.String()
    if source.null_count() == len(source):
        return Reading(pl.Series(source.name, [None] * len(source), dtype=_natural(rules)))
    if dtype == pl.Float16:
        source, dtype = source.cast(pl.Float32), pl.Float32()
    given, digits = source, None
    if dtype == DECIMAL_TEXT:
        digits = digits_of(source)
        source = decimals_of(digits)
    reader = _reader(rules, dtype)
    if reader is None or ((rules.allowed is not None or rules.is_strict) and not is_native(rules, dtype)):
        # Literal, Enum and strict fields compare without conversion: only pydantic knows what else they take.
        return _all_doubtful(rules, given)
    reading = reader(rules, source)
    if rules.kind is Kind.DECIMAL and digits is not None:
        reading.written = digits
    if reading.values.null_count() != given.null_count():
        reading.doubt(reading.values.is_null() & given.is_not_null())
    for mask, _ in reading.refused:
        reading.values = blank(reading.values, mask)
    return reading


def unheld(source: pl.Series) -> list[tuple[pl.Series, str]]:
    """Dates and times that Python cannot hold, as masks with their reasons."""
    readers = {"date": _date, "naive": _timestamp, "aware": _timestamp, "time": _time, "duration": _duration}
    reader = readers.get(_family(source.dtype) or "")
    if reader is None or source.null_count() == len(source):
        return []
    return reader(_NO_RULES, source).refused


def _reader(rules: FieldRules, dtype: pl.DataType) -> _Reader | None:
    family = "text" if isinstance(dtype, pl.Categorical | pl.Enum) else _family(dtype)
    return _READERS.get(rules.kind, {}).get(family) if family is not None else None


def blank(values: pl.Series, mask: pl.Series) -> pl.Series:
    """The values with null where the mask is true."""
    return pl.select(pl.when(~mask).then(values).alias(values.name)).to_series()


def _natural(rules: FieldRules) -> pl.DataType:
    return rules.column.type.frame_type


def _as_is(_rules: FieldRules, source: pl.Series) -> Reading:
    return Reading(source)


def _int(_rules: FieldRules, source: pl.Series) -> Reading:
    """Integers of up to 64 bits; larger ones are looked at one by one."""
    return Reading(source.cast(pl.Int64, strict=False) if source.dtype in (pl.Int128, pl.UInt128) else source)


def _matching(source: pl.Series, pattern: str) -> pl.Series:
    """The values of that form, the others as null."""
    plain = source.str.contains(pattern)
    return source if plain.all() else blank(source, ~plain)


def _int_from_inexact(_rules: FieldRules, source: pl.Series) -> Reading:
    """Floats and decimals that are whole; pydantic words the refusal of the others."""
    values = source.cast(pl.Int64, strict=False)
    reading = Reading(values)
    if values.min() == _INT64_MIN:
        reading.doubt((values == _INT64_MIN).fill_null(value=False))  # as a float pydantic does not take it
    reading.doubt((values.cast(source.dtype, strict=False) != source) & source.is_not_null())
    return reading


def _int_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    values = _matching(source, _PLAIN_INTEGER)
    return Reading(values.cast(pl.Int64, strict=False))


def _bool_from_number(_rules: FieldRules, source: pl.Series) -> Reading:
    reading = Reading(source == 1)
    reading.doubt(~((source == 0) | (source == 1)) & source.is_not_null())
    return reading


def _all_doubtful(rules: FieldRules, source: pl.Series) -> Reading:
    return Reading(pl.Series(source.name, [None] * len(source), dtype=_natural(rules)), source.is_not_null())


def _float(rules: FieldRules, source: pl.Series) -> Reading:
    reading = Reading(source)
    if rules.bounds or rules.finite:
        # Neither a comparison nor min() says anything about NaN.
        reading.doubt(~source.is_finite() & source.is_not_null())
    return reading


def _float_from_int(_rules: FieldRules, source: pl.Series) -> Reading:
    reading = Reading(source.cast(pl.Float64))
    low, high = source.min(), source.max()
    if low < -_FLOAT_EXACT_INTEGER or high > _FLOAT_EXACT_INTEGER:  # type: ignore[operator]
        reading.doubt((reading.values.abs() >= _FLOAT_EXACT_INTEGER) & source.is_not_null())
    return reading


def _float_from_decimal(_rules: FieldRules, source: pl.Series) -> Reading:
    """Up to 15 digits a decimal and the nearest double name each other; beyond that each value is looked at."""
    values = source.cast(pl.Float64)
    scale = source.dtype.scale  # type: ignore[attr-defined]
    reading = Reading(values)
    reading.doubt((values.abs() >= 10.0 ** (_DOUBLE_DIGITS - scale)) & source.is_not_null())
    return reading


def _float_from_text(rules: FieldRules, source: pl.Series) -> Reading:
    """Texts of up to 15 digits, and those that are the shortest of their double; the others may lose digits."""
    values = _matching(source, _PLAIN_FLOAT)
    doubles = values.cast(pl.Float64, strict=False)
    reading = _float(rules, doubles)
    longest = values.str.len_bytes().max()
    if longest is not None and longest > _DOUBLE_DIGITS:  # type: ignore[operator]
        is_long = values.str.len_bytes() > _DOUBLE_DIGITS
        reading.doubt((is_long & (doubles.cast(pl.String) != values)).fill_null(value=False))
    return reading


def _decimal_from_int(_rules: FieldRules, source: pl.Series) -> Reading:
    return Reading(source.cast(pl.Decimal(38, 0), strict=False))


def _decimal_from_float(rules: FieldRules, source: pl.Series) -> Reading:
    """A double of up to 15 digits is taken as its shortest decimal form, as pydantic takes it."""
    scale = _declared_scale(rules, _UNDECLARED_SCALE)
    doubles = source.cast(pl.Float64)
    plain = (doubles.abs() < 10.0 ** (_DOUBLE_DIGITS - scale)) & doubles.is_finite()
    values = blank(doubles, ~plain).cast(pl.Decimal(38, scale), strict=False)
    reading = Reading(values)
    reading.doubt((values.cast(pl.Float64) != doubles) & doubles.is_not_null())
    return reading


def _declared_scale(rules: FieldRules, otherwise: int) -> int:
    """The decimals of the contract's own column; a numeric without declared digits has any number of them."""
    natural = _natural(rules)
    return natural.scale if isinstance(natural, pl.Decimal) else otherwise


def _decimal_from_text(rules: FieldRules, source: pl.Series) -> Reading:
    decimals = source.str.len_bytes() - source.str.find(".", literal=True) - 1
    longest = 0 if decimals.null_count() == len(decimals) else cast("int", decimals.max())
    scale = _declared_scale(rules, min(longest, _DECIMAL_DIGITS // 2))
    pattern = rf"^-?[0-9]{{1,{max(_DECIMAL_DIGITS - scale, 1)}}}" + (rf"(\.[0-9]{{1,{scale}}})?$" if scale else "$")
    values = _matching(source, pattern)
    return Reading(values.cast(pl.Decimal(_DECIMAL_DIGITS, scale), strict=False), written=values)


def _text_from_bytes(_rules: FieldRules, source: pl.Series) -> Reading:
    return Reading(_decoded(source))


def _decoded(source: pl.Series) -> pl.Series:
    """UTF-8 as text, anything else as null; halved until the culprits stand alone, since polars' cast fails as a whole."""
    try:
        return source.cast(pl.String)
    except pl.exceptions.ComputeError:
        if len(source) == 1:
            return pl.Series(source.name, [None], dtype=pl.String)
        middle = len(source) // 2
        return pl.concat([_decoded(source[:middle]), _decoded(source[middle:])])


def _bytes_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    return Reading(source.cast(pl.Binary))


def _uuid_from_bytes(_rules: FieldRules, source: pl.Series) -> Reading:
    return Reading(blank(source, source.bin.size() != _UUID_BYTES))


def _uuid_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    values = _matching(source, _PLAIN_UUID)
    return Reading(values.str.replace_all("-", "", literal=True).str.decode("hex", strict=False))


def _date(_rules: FieldRules, source: pl.Series) -> Reading:
    reading = Reading(source)
    _refuse_outside(reading, source.to_physical(), _EPOCH_DAYS)
    return reading


def _date_from_timestamp(rules: FieldRules, source: pl.Series) -> Reading:
    """Midnights are dates; pydantic words the refusal of other hours."""
    reading = _timestamp(rules, source)
    stamps = reading.values
    reading.values = stamps.cast(pl.Date)
    reading.doubt((reading.values.cast(stamps.dtype) != stamps) & source.is_not_null())
    return reading


def _date_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    values = _matching(source, _PLAIN_DATE)
    reading = Reading(values.str.to_date("%Y-%m-%d", strict=False))
    return _doubt_beyond_calendar(reading, _EPOCH_DAYS[0], _EPOCH_DAYS[1] + 1)


def _timestamp(_rules: FieldRules, source: pl.Series) -> Reading:
    """Timestamps in microseconds, those with a zone in UTC."""
    dtype = source.dtype
    ticks = source.to_physical()
    unit = dtype.time_unit  # type: ignore[attr-defined]
    reading = Reading(source)
    match unit:
        case "ns":
            if (fine := (ticks % 1000 != 0)).any():
                reading.refused.append((fine.fill_null(value=False), "has nanoseconds, which a timestamp would lose"))
            ticks = ticks // 1000
        case "ms":
            limit = (2**63 - 1) // 1000
            _refuse_outside(reading, ticks, (-limit, limit))
            ticks = ticks.clip(-limit, limit) * 1000
    _refuse_outside(reading, ticks, (_EPOCH_DAYS[0] * _DAY_US, (_EPOCH_DAYS[1] + 1) * _DAY_US - 1))
    zone = "UTC" if dtype.time_zone else None  # type: ignore[attr-defined]
    if unit != "us" or dtype.time_zone != zone:  # type: ignore[attr-defined]
        reading.values = ticks.cast(pl.Datetime("us", zone))
    return reading


def _timestamp_from_date(rules: FieldRules, source: pl.Series) -> Reading:
    reading = _date(rules, source)
    reading.values = source.cast(pl.Datetime("us"))
    return reading


def _timestamp_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    values = _matching(source, _PLAIN_TIMESTAMP)
    spaced = values.str.replace("T", " ", literal=True)
    reading = Reading(spaced.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False))
    return _doubt_beyond_calendar(reading, _EPOCH_DAYS[0] * _DAY_US, (_EPOCH_DAYS[1] + 1) * _DAY_US)


def _instant_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    values = _matching(source, _PLAIN_INSTANT)
    spaced = values.str.replace("T", " ", literal=True).str.replace("Z", "+00:00", literal=True)
    parsed = spaced.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)
    reading = Reading(parsed)
    # A day at either end is left to pydantic: a zone may have moved the instant over the calendar's edge.
    return _doubt_beyond_calendar(reading, (_EPOCH_DAYS[0] + 1) * _DAY_US, _EPOCH_DAYS[1] * _DAY_US)


def _time(_rules: FieldRules, source: pl.Series) -> Reading:
    reading = Reading(source)
    if (fine := (source.to_physical() % 1000 != 0)).any():
        reading.refused.append((fine.fill_null(value=False), "has nanoseconds, which a time would lose"))
    return reading


def _time_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    values = _matching(source, _PLAIN_TIME)
    return Reading(values.str.to_time("%H:%M:%S%.f", strict=False))


def _duration(_rules: FieldRules, source: pl.Series) -> Reading:
    """Elapsed time in microseconds."""
    ticks = source.to_physical()
    reading = Reading(source)
    match source.dtype.time_unit:  # type: ignore[attr-defined]
        case "ns":
            if (fine := (ticks % 1000 != 0)).any():
                reading.refused.append((fine.fill_null(value=False), "has nanoseconds, which a duration would lose"))
            reading.values = (ticks // 1000).cast(pl.Duration("us"))
        case "ms":
            limit = (2**63 - 1) // 1000
            if (outside := ~ticks.is_between(-limit, limit)).any():
                reading.refused.append((outside.fill_null(value=False), "is longer than 292,471 years"))
            reading.values = (ticks.clip(-limit, limit) * 1000).cast(pl.Duration("us"))
        case _ if ticks.min() == _INT64_MIN:
            reading.refused.append(((ticks == _INT64_MIN).fill_null(value=False), "is longer than 292,471 years"))
    return reading


def _duration_from_text(_rules: FieldRules, source: pl.Series) -> Reading:
    """Clock form (01:02:03.5); pydantic reads the others."""
    values = _matching(source, _PLAIN_DURATION).rename("text")
    clock = values.str.strip_prefix("-")
    parts = [clock.str.slice(start, 2).cast(pl.Int64) for start in (0, 3, 6)]
    fraction = clock.str.slice(9).str.pad_end(6, "0").cast(pl.Int64)
    ticks = ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1_000_000 + fraction
    signed = pl.select(pl.when(values.str.starts_with("-")).then(-ticks).otherwise(ticks)).to_series()
    return Reading(signed.cast(pl.Duration("us")).alias(source.name))


def _address_from_text(rules: FieldRules, source: pl.Series) -> Reading:
    """Addresses of the versions that the field takes, which its own validator says."""
    from rowledger.contract.networks import addresses_from_text  # noqa: PLC0415, few tables hold addresses

    v4, v6 = (_takes(rules, address) for address in ("0.0.0.0", "::"))  # noqa: S104 - no server listens here
    return Reading(addresses_from_text(source, v4=v4, v6=v6))


def _takes(rules: FieldRules, value: str) -> bool:
    try:
        rules.adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def _refuse_outside(reading: Reading, ticks: pl.Series, limits: tuple[int, int]) -> None:
    low, high = ticks.min(), ticks.max()
    if low is not None and (low < limits[0] or high > limits[1]):  # type: ignore[operator]
        outside = ~ticks.is_between(*limits)
        reading.refused.append((outside.fill_null(value=False), "is outside the years 1 to 9999"))


def _doubt_beyond_calendar(reading: Reading, first_tick: int, end_tick: int) -> Reading:
    ticks = reading.values.to_physical()
    if ticks.null_count() == len(ticks):
        return reading
    if ticks.min() < first_tick or ticks.max() >= end_tick:  # type: ignore[operator]
        beyond = ((ticks < first_tick) | (ticks >= end_tick)).fill_null(value=False)
        reading.doubt(beyond)
        reading.values = blank(reading.values, beyond)  # not even a minimum could be taken of them
    return reading


# What a kind takes, its own type first. What is missing here pydantic may take in lax mode, but only by a silent change
# of meaning: True into 1, 1357000000 into a date, a local time into an instant.
_READERS: dict[Kind, dict[_Family, _Reader]] = {
    Kind.BOOL: {
        "bool": _as_is, "integer": _bool_from_number, "float": _bool_from_number,
        "text": _all_doubtful,
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
        "decimal": _as_is, "integer": _decimal_from_int, "float": _decimal_from_float,
        "text": _decimal_from_text,
    },
    Kind.TEXT: {"text": _as_is, "bytes": _text_from_bytes},
    Kind.BYTES: {"bytes": _as_is, "text": _bytes_from_text},
    Kind.UUID: {"bytes": _uuid_from_bytes, "text": _uuid_from_text},
    Kind.DATE: {"date": _date, "naive": _date_from_timestamp, "text": _date_from_text},
    Kind.TIMESTAMP: {"naive": _timestamp, "date": _timestamp_from_date, "text": _timestamp_from_text},
    Kind.TIMESTAMPTZ: {"aware": _timestamp, "text": _instant_from_text},
    Kind.TIME: {"time": _time, "text": _time_from_text},
    Kind.INTERVAL: {"duration": _duration, "text": _duration_from_text},
    Kind.IP_ADDRESS: {"text": _address_from_text},
    Kind.IP_INTERFACE: {"text": _all_doubtful},
    Kind.IP_NETWORK: {"text": _all_doubtful},
}  # fmt: skip

_HINTS = {
    Kind.TIMESTAMP: " (a field that holds instants is an AwareDatetime)",
    Kind.TIMESTAMPTZ: " (a field that holds local times is a NaiveDatetime)",
}
