"""The polars type of each column type: the form in which values are written."""

import polars as pl

__all__ = ["frame_type_of"]

_FRAME_TYPES: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "smallint": pl.Int16(),
    "integer": pl.Int32(),
    "bigint": pl.Int64(),
    "real": pl.Float32(),
    "double precision": pl.Float64(),
    "numeric": pl.String(),
    "text": pl.String(),
    "character varying": pl.String(),
    "character": pl.String(),
    "citext": pl.String(),
    "enum": pl.String(),
    "bytea": pl.Binary(),
    "uuid": pl.Binary(),  # 16 bytes, big-endian as in RFC 9562
    "date": pl.Date(),
    "time without time zone": pl.Time(),
    "timestamp without time zone": pl.Datetime("us"),
    "timestamp with time zone": pl.Datetime("us", "UTC"),
    "interval": pl.Duration("us"),
    "inet": pl.Binary(),  # as the server sends it: family (2 or 3), bits, 1 for cidr, number of bytes, these bytes
    "cidr": pl.Binary(),
    "json": pl.String(),  # JSON text
    "jsonb": pl.String(),
    "other": pl.String(),  # the text that the type's input function reads
}


def frame_type_of(name: str, *, digits: tuple[int, int] | None, is_array: bool) -> pl.DataType:
    """The type of the values that are written into a column of the type with that name; an array is a list of it.

    `digits` are the precision and scale of a numeric that a 128-bit decimal holds; any other numeric is its decimal text.
    """
    if is_array:
        return pl.List(frame_type_of(name, digits=digits, is_array=False))
    return pl.Decimal(*digits) if digits is not None else _FRAME_TYPES[name]
