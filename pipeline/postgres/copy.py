"""Arrow to binary COPY: encode first, then send, so that no reader code runs while the server is in COPY mode."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import asyncpg
import polars as pl
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder
from pgpq import encoders as pgpq_encoders
from pgpq import schema as pgpq_schema

from pipeline.errors import ChunkFailed
from pipeline.model.column import Column, TypeName

__all__ = ["EncodedRows", "copy_rows", "encode_rows"]

_SLICE_BYTES = 128 * 2**10  # measured on rows of 194 bytes: no slower than batches of 3 MB sent whole


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows in PostgreSQL's binary COPY format: header, tuples and trailer, in pieces that can be sent again."""

    pieces: tuple[bytes, ...]
    rows: int


def encode_rows(
    frame: pl.DataFrame, columns: Sequence[Column], batch_rows: int, on_progress: Callable[[int], None] | None = None
) -> EncodedRows:
    """Encode a frame whose types are exactly those of the columns.

    Batches of 10 to 20 thousand rows stay in the processor's cache: one large batch takes half as long again.
    """
    table = frame.to_arrow(compat_level=pl.CompatLevel.newest())
    table = _with_encodable_types(table)
    encoder = _encoder(table.schema, columns)
    pieces = [encoder.write_header()]
    for batch in table.to_batches(max_chunksize=batch_rows):
        pieces.append(encoder.write_batch(batch))
        if on_progress is not None:
            on_progress(batch.num_rows)
    pieces.append(encoder.finish())
    return EncodedRows(tuple(pieces), frame.height)


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
        format="binary",
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
        if pa.types.is_time64(field.type):
            wanted: pa.DataType = pa.time64("us")
        elif pa.types.is_binary_view(field.type):
            wanted = pa.large_binary()
        else:
            continue
        table = table.set_column(index, pa.field(field.name, wanted), table.column(index).cast(wanted))
    return table
