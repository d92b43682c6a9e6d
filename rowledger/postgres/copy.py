"""Rows to COPY: encode first, then send, so that no reader code runs while the server is in COPY mode.

Binary where every column of the table has a binary encoder, which is faster on both sides; else COPY's text format, which
takes every type. The columns' types alone decide, so that it is the same for a whole load.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg
import polars as pl
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder, encoders as pgpq_encoders, schema as pgpq_schema

from rowledger.contract import arrow_table
from rowledger.errors import ChunkFailed
from rowledger.postgres.copy_numeric import numeric_fields
from rowledger.postgres.copy_text import text_rows
from rowledger.spec import Column, ColumnType, TypeName

__all__ = ["EncodedRows", "copy_rows", "describe_format", "encode_rows"]

_SLICE_BYTES = 128 * 2**10  # measured on rows of 194 bytes: no slower than batches of 3 MB sent whole

# Arrays name the type of their elements by its number, and the server takes no other of its own: these are those that the
# encoder knows. Of types made by users it asks no number.
_BINARY_ELEMENTS = {
    TypeName.BOOLEAN, TypeName.SMALLINT, TypeName.INTEGER, TypeName.BIGINT, TypeName.REAL, TypeName.DOUBLE,
    TypeName.NUMERIC, TypeName.TEXT, TypeName.CITEXT, TypeName.ENUM, TypeName.BYTEA, TypeName.DATE, TypeName.TIME,
    TypeName.TIMESTAMP, TypeName.INTERVAL,
}  # fmt: skip

Format = Literal["binary", "text"]


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows in one of COPY's formats, in pieces that can be sent again; binary ones with their header and trailer."""

    pieces: tuple[bytes, ...]
    rows: int
    format: Format


def describe_format(columns: Sequence[Column]) -> str:
    """Which format these columns are written in, and why: one line for the log."""
    if odd := [f"{column.name} ({column.type.sql})" for column in columns if not _has_binary_encoder(column.type)]:
        return f"text COPY, because of {', '.join(odd)}"
    return "binary COPY"


def encode_rows(
    frame: pl.DataFrame, columns: Sequence[Column], batch_rows: int, on_progress: Callable[[int], None] | None = None
) -> EncodedRows:
    """Encode a frame whose types are exactly those of the columns.

    Batches of 10 to 20 thousand rows stay in the processor's cache: one large batch takes half as long again.
    """
    is_binary = all(_has_binary_encoder(column.type) for column in columns)
    encode = _binary_pieces if is_binary else _text_pieces
    pieces = []
    for piece, rows in encode(frame, columns, batch_rows):
        pieces.append(piece)
        if on_progress is not None and rows:
            on_progress(rows)
    return EncodedRows(tuple(pieces), frame.height, "binary" if is_binary else "text")


def _binary_pieces(frame: pl.DataFrame, columns: Sequence[Column], batch_rows: int) -> Iterator[tuple[bytes, int]]:
    fields = [numeric_fields(frame[column.name]) for column in columns if _is_numeric_text(column.type)]
    frame = frame.with_columns(fields) if fields else frame
    table = _with_encodable_types(arrow_table(frame, compat_level=pl.CompatLevel.newest()))
    encoder = _encoder(table.schema, columns)
    yield encoder.write_header(), 0
    for batch in table.to_batches(max_chunksize=batch_rows):
        yield encoder.write_batch(batch), batch.num_rows
    yield encoder.finish(), 0


def _text_pieces(frame: pl.DataFrame, columns: Sequence[Column], batch_rows: int) -> Iterator[tuple[bytes, int]]:
    for batch in frame.iter_slices(batch_rows):
        yield text_rows(batch, columns), batch.height


def _has_binary_encoder(column_type: ColumnType) -> bool:
    if column_type.name is TypeName.OTHER:
        return False
    if not column_type.array:
        return True
    return column_type.name in _BINARY_ELEMENTS and not _is_numeric_text(column_type.element)


def _is_numeric_text(column_type: ColumnType) -> bool:
    return column_type.name is TypeName.NUMERIC and isinstance(column_type.frame_type, pl.String)


async def copy_rows(
    connection: asyncpg.Connection,
    encoded: EncodedRows,
    *,
    schema_name: str,
    table_name: str,
    columns: Sequence[Column],
    on_sent: Callable[[int], None],
) -> None:
    """COPY the rows; raises ChunkFailed when the server's count is not ours, and asyncpg's errors as they come.

    `on_sent` gets the bytes handed to the socket since it was called last: with back-pressure that is progress, not mere
    effort. Small slices keep it coming where the server or the network is slow, which must not look like a standstill.
    """

    async def slices() -> AsyncIterator[memoryview]:
        for piece in encoded.pieces:
            view = memoryview(piece)
            for start in range(0, len(piece), _SLICE_BYTES):
                part = view[start : start + _SLICE_BYTES]
                yield part
                on_sent(len(part))

    tag = await connection.copy_to_table(
        table_name,
        schema_name=schema_name,
        columns=[column.name for column in columns],
        source=slices(),
        format=encoded.format,
    )
    if tag != f"COPY {encoded.rows}":
        raise ChunkFailed(f"sent {encoded.rows} rows to {schema_name}.{table_name}, the server answered {tag!r}")


def _encoder(arrow_schema: pa.Schema, columns: Sequence[Column]) -> ArrowToPostgresBinaryEncoder:
    """An encoder for these columns; jsonb is text with a version byte, which only the column's type can tell."""
    if not any(column.type.name is TypeName.JSONB for column in columns):
        return ArrowToPostgresBinaryEncoder(arrow_schema)
    builders = {
        column.name: pgpq_encoders.StringViewEncoderBuilder.new_with_output(field, pgpq_schema.Jsonb())
        if column.type.name is TypeName.JSONB
        else ArrowToPostgresBinaryEncoder.infer_encoder(field)
        for column, field in zip(columns, arrow_schema, strict=True)
    }
    return ArrowToPostgresBinaryEncoder.new_with_encoders(arrow_schema, builders)


def _with_encodable_types(table: pa.Table) -> pa.Table:
    """What polars gives in a form that has no encoder: times of day in ns (PostgreSQL keeps µs), and views of bytes."""
    for index, field in enumerate(table.schema):
        wanted = _encodable(field.type)
        if wanted != field.type:
            table = table.set_column(index, pa.field(field.name, wanted), table.column(index).cast(wanted))
    return table


def _encodable(arrow_type: pa.DataType) -> pa.DataType:
    if pa.types.is_time64(arrow_type):
        return pa.time64("us")
    if pa.types.is_binary_view(arrow_type):
        return pa.large_binary()
    if pa.types.is_large_list(arrow_type):
        return pa.large_list(_encodable(arrow_type.value_type))
    return arrow_type
