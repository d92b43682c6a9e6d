r"""Columns as COPY's text format has them: tabs between fields, `\N` for null, escapes for what would end a field or a row.

Text and not CSV, which every type would do as well: CSV leaves a line break inside a value as it is, so that the *line* an
error of the server names is no longer the *row*; here one row is one line. All of it runs in columns, written out by polars'
CSV writer with quoting turned off; what numbers, dates and truth values need is what that writer does by itself.
"""

from collections.abc import Sequence
from io import BytesIO

import polars as pl

from rowledger.spec import Column, ColumnType, TypeName

__all__ = ["text_rows"]

_NULL = r"\N"
_SPECIAL = "[\\\\\t\n\r]"
_ESCAPES = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}  # the backslash first
_UTC_FORMAT = "%Y-%m-%d %H:%M:%S%.6f+00"  # of a timestamp without zone the server does not read the +00
_SECOND_US = 1_000_000
_HOUR_US = 3_600 * _SECOND_US
_ADDRESS_AT = 4  # bytes of an inet before the address itself

# What polars' CSV writer prints as the server reads it: exactly, floats in the shortest form that reads back equal.
_WRITTEN_BY_POLARS = {
    TypeName.BOOLEAN, TypeName.SMALLINT, TypeName.INTEGER, TypeName.BIGINT, TypeName.REAL, TypeName.DOUBLE,
    TypeName.NUMERIC, TypeName.DATE, TypeName.TIME, TypeName.TIMESTAMP, TypeName.TIMESTAMPTZ,
}  # fmt: skip


def text_rows(frame: pl.DataFrame, columns: Sequence[Column]) -> bytes:
    """The rows of a frame whose types are exactly those of the columns."""
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
    """One column, in a type that polars writes as the server reads it, with the escapes that COPY wants."""
    if column_type.array:
        return _escaped(_array_literals(values, column_type.element))
    if column_type.name is TypeName.TIMESTAMPTZ:
        return values.dt.replace_time_zone(None)  # in UTC, as the format says; polars' own way takes twice the time
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
    """`{1,NULL,3}`, text in double quotes."""
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
            return value.dt.to_string("%H:%M:%S%.6f")  # a cast would leave the fraction out
        case _:
            return value.cast(pl.String)


def _interval_text(value: pl.Expr) -> pl.Expr:
    """Hours, however many, and seconds: days would follow the calendar, a duration does not."""
    ticks = value.to_physical()
    return pl.format("PT{}H{}S", ticks // _HOUR_US, ticks % _HOUR_US / _SECOND_US)  # of ten digits a double loses none


def _network_text(value: pl.Expr) -> pl.Expr:
    """Address and bits of the mask; the eight groups of an IPv6 address all written out."""
    number = value.bin.slice(_ADDRESS_AT, 4).bin.reinterpret(dtype=pl.UInt32, endianness="big")
    dotted = pl.format("{}.{}.{}.{}", number // 2**24, number // 2**16 % 256, number // 2**8 % 256, number % 256)
    groups = value.bin.slice(_ADDRESS_AT).bin.encode("hex").str.replace_all("(.{4})", "$1:").str.strip_suffix(":")
    mask = value.bin.slice(1, 1).bin.reinterpret(dtype=pl.UInt8)
    return pl.format("{}/{}", pl.when(value.bin.size() == _ADDRESS_AT + 4).then(dotted).otherwise(groups), mask)
