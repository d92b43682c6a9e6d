"""Encode rows for COPY, then send them, so that no reader code runs while the server is in COPY mode.

The format is binary, which is faster on both sides, where every column has a binary encoder; otherwise it is COPY's text
format, which takes every type. Only the columns' types decide, so a whole load has one format.
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
from rowledger.postgres.copy_format import has_binary_encoder
from rowledger.postgres.copy_numeric_texts import numeric_fields
from rowledger.postgres.copy_text import text_rows
from rowledger.spec import Column, TypeName

__all__ = ["EncodedRows", "copy_rows", "encode_rows"]

_SLICE_BYTES = 128 * 2**10  # measured on rows of 194 bytes: no slower than batches of 3 MB sent whole

Format = Literal["binary", "text"]


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows in one of COPY's formats, as pieces that can be sent again. The binary format has its header and trailer."""

    pieces: tuple[bytes, ...]
    rows: int
    format: Format


def encode_rows(
    frame: pl.DataFrame, columns: Sequence[Column], batch_rows: int, on_progress: Callable[[int], None] | None = None
) -> EncodedRows:
    """Encode a frame whose types are exactly those of the columns.

    Batches of 10 to 20 thousand rows stay in the processor's cache: one large batch takes 1.5 times as long. `on_progress`
    gets the number of rows of each batch.
    """
    is_binary = all(has_binary_encoder(column.type) for column in columns)
    encode = _binary_pieces if is_binary else _text_pieces
    pieces = []
    for piece, rows in encode(frame, columns, batch_rows):
        pieces.append(piece)
        if on_progress is not None and rows:
            on_progress(rows)
    return EncodedRows(tuple(pieces), frame.height, "binary" if is_binary else "text")


def _binary_pieces(frame: pl.DataFrame, columns: Sequence[Column], batch_rows: int) -> Iterator[tuple[bytes, int]]:
    fields = [numeric_fields(frame[column.name]) for column in columns if column.type.is_numeric_text]
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


async def copy_rows(
    connection: asyncpg.Connection,
    encoded: EncodedRows,
    *,
    schema_name: str,
    table_name: str,
    columns: Sequence[Column],
    on_sent: Callable[[int], None],
) -> None:
    """COPY the rows; raises ChunkFailed when the server's row count differs, and asyncpg's errors as they are.

    `on_sent` gets the number of bytes handed to the socket since its last call. Because of back-pressure, this measures what
    the server takes. Small slices keep the calls frequent: a slow server or network must not look like a stall.
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
    """An encoder for these columns. jsonb is text with a version byte, which the Arrow schema does not tell from text."""
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
    """Cast what polars returns in types without an encoder: times of day in ns (PostgreSQL keeps µs), and binary views."""
    return table.cast(pa.schema([(field.name, _encodable(field.type)) for field in table.schema]))


def _encodable(arrow_type: pa.DataType) -> pa.DataType:
    if pa.types.is_time64(arrow_type):
        return pa.time64("us")
    if pa.types.is_binary_view(arrow_type):
        return pa.large_binary()
    if pa.types.is_large_list(arrow_type):
        return pa.large_list(_encodable(arrow_type.value_type))
    return arrow_type
