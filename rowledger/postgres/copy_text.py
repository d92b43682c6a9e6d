r"""Encode rows in COPY's text format: tabs between fields, `\N` for null, escapes for what would end a field or a row.

CSV would serve every type too, but it leaves a line break inside a value as it is, so the *line* that a server error names
would not be the *row*. In the text format one row is one line. The work is columnar: polars' CSV writer writes the lines with
quoting turned off, and writes numbers, dates and booleans as COPY needs them.
"""

from collections.abc import Sequence
from io import BytesIO

import polars as pl

from rowledger.spec import Column, ColumnType, TypeName

__all__ = ["text_rows"]

_NULL = r"\N"
_SPECIAL = "[\\\\\t\n\r]"
_ESCAPES = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}  # the backslash first
_UTC_FORMAT = "%Y-%m-%d %H:%M:%S%.6f+00"  # for a timestamp without time zone the server ignores the +00
_SECOND_US = 1_000_000
_HOUR_US = 3_600 * _SECOND_US
_ADDRESS_AT = 4  # bytes of an inet value before the address

# Types that polars' CSV writer prints exactly and as the server reads them; floats in the shortest form that reads back equal.
_WRITTEN_BY_POLARS = {
    TypeName.BOOLEAN, TypeName.SMALLINT, TypeName.INTEGER, TypeName.BIGINT, TypeName.REAL, TypeName.DOUBLE,
    TypeName.NUMERIC, TypeName.DATE, TypeName.TIME, TypeName.TIMESTAMP, TypeName.TIMESTAMPTZ,
}  # fmt: skip


def text_rows(frame: pl.DataFrame, columns: Sequence[Column]) -> bytes:
    """Encode a frame whose types are exactly those of the columns."""
    fields = frame.select(_field(frame[column.name], column.type) for column in columns)
    lines = BytesIO()
    fields.write_csv(
        lines,
        include_header=False,
        separator="\t",
        quote_style="never",
        null_value=_NULL,
        datetime_format=_UTC_FORMAT,
    )
    return lines.getvalue()


def _field(values: pl.Series, column_type: ColumnType) -> pl.Series:
    """One column, in a type that polars writes as the server reads it, with COPY's escapes."""
    if column_type.array:
        return _escaped(_array_literals(values, column_type.element))
    if column_type.name is TypeName.TIMESTAMPTZ:
        return values.dt.replace_time_zone(None)  # in UTC, as the format says; polars' conversion takes twice as long
    if column_type.name in _WRITTEN_BY_POLARS:
        return values
    return _escaped(values.to_frame().select(_as_text(pl.col(values.name), column_type).alias(values.name)).to_series())


def _escaped(text: pl.Series) -> pl.Series:
    if not text.str.contains(_SPECIAL).any():
        return text
    for character, escape in _ESCAPES.items():
        text = text.str.replace_all(character, escape, literal=True)
    return text


def _array_literals(values: pl.Series, element_type: ColumnType) -> pl.Series:
    """Array literals such as `{1,NULL,3}`, with text elements in double quotes."""
    element = _as_text(pl.element(), element_type)
    if element_type.name not in _WRITTEN_BY_POLARS:
        escaped = element.str.replace_all("\\", r"\\", literal=True).str.replace_all('"', r"\"", literal=True)
        element = pl.format('"{}"', escaped)
    joined = pl.col(values.name).list.eval(element.fill_null("NULL")).list.join(",")
    literal = pl.concat_str(pl.lit("{"), joined, pl.lit("}"))
    return values.to_frame().select(literal.alias(values.name)).to_series()


def _as_text(value: pl.Expr, column_type: ColumnType) -> pl.Expr:
    """The text that the type's input function reads, not yet escaped."""
    match column_type.name:
        case TypeName.BYTEA:
            return pl.concat_str(pl.lit(r"\x"), value.bin.encode("hex"))
        case TypeName.UUID:
            return value.bin.encode("hex")
        case TypeName.INTERVAL:
            return _interval_text(value)
        case TypeName.INET | TypeName.CIDR:
            return _network_text(value)
        case TypeName.TIME:
            return value.dt.to_string("%H:%M:%S%.6f")  # a cast would drop the fraction
        case _:
            return value.cast(pl.String)


def _interval_text(value: pl.Expr) -> pl.Expr:
    """The interval in hours and seconds, without days: a day of an interval follows the calendar, a duration does not."""
    ticks = value.to_physical()
    return pl.format("PT{}H{}S", ticks // _HOUR_US, ticks % _HOUR_US / _SECOND_US)  # a double keeps all ten digits


def _network_text(value: pl.Expr) -> pl.Expr:
    """Address and mask length; all eight groups of an IPv6 address are written out."""
    number = value.bin.slice(_ADDRESS_AT, 4).bin.reinterpret(dtype=pl.UInt32, endianness="big")
    dotted = pl.format("{}.{}.{}.{}", number // 2**24, number // 2**16 % 256, number // 2**8 % 256, number % 256)
    groups = value.bin.slice(_ADDRESS_AT).bin.encode("hex").str.replace_all("(.{4})", "$1:").str.strip_suffix(":")
    mask = value.bin.slice(1, 1).bin.reinterpret(dtype=pl.UInt8)
    return pl.format("{}/{}", pl.when(value.bin.size() == _ADDRESS_AT + 4).then(dotted).otherwise(groups), mask)
