"""Arrow IPC files and streams as a source, read batch by batch."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal, cast

import polars as pl
import pyarrow as pa
from pydantic import Field

from rowledger.errors import SourceError
from rowledger.sources.arrow_frames import frame_of
from rowledger.sources.arrow_ipc_messages import Kind, Message, NotArrowError, read_messages
from rowledger.sources.chunking import FilePart
from rowledger.sources.nested_types import arrow_types_in
from rowledger.sources.planned_files import PlannedFiles
from rowledger.sources.source_file import SourceFile
from rowledger.sources.system_errors import system_refusal
from rowledger.sources.unrepresentable_values import as_stored
from rowledger.spec import ChunkDescriptor

__all__ = ["ArrowFiles"]

_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


class ArrowFiles(PlannedFiles):
    """The Arrow IPC files of a partition (Feather 2, `.arrow`, `.arrows`), in the order of their names.

    A file has the file format or the stream format; its buffers may be compressed.
    """

    kind: Literal["arrow"] = "arrow"
    columns_max: int = Field(
        default=2_000, ge=1, le=100_000, description="Columns a file may have, those inside nested ones counted."
    )
    batch_bytes_max: int = Field(
        default=2 * 2**30,
        ge=2**20,
        description="Uncompressed bytes a record batch or a dictionary may declare. A worker holds one batch as a whole.",
    )

    def _read_rows(self, descriptor: ChunkDescriptor, file: Path) -> pl.DataFrame:
        table = _read_table(file, descriptor.row_offset, descriptor.rows, origin=descriptor.path)
        return frame_of(table, origin=descriptor.path)

    def _parts(self, file: SourceFile) -> tuple[list[FilePart], dict[str, str]]:
        """Rows and bytes of each record batch; raises SourceError for a file that exceeds a limit or cannot be read."""
        schema = _read_table(file.path, 0, 0, origin=file.origin).schema
        messages = _messages(file.path, origin=file.origin)
        if (columns := sum(1 for field in schema for _ in arrow_types_in(field.type))) > self.columns_max:
            raise SourceError(f"{file.origin}: has {columns} columns, the limit is {self.columns_max} (columns_max)")
        for message in messages:
            if message.data_bytes > self.batch_bytes_max:
                raise SourceError(
                    f"{file.origin}: a {message.kind.name.lower()} declares {message.data_bytes:,} bytes uncompressed, the "
                    f"limit is {self.batch_bytes_max:,} (batch_bytes_max); write it in smaller batches"
                )
        return [FilePart(message.rows, message.data_bytes) for message in messages if message.kind is Kind.BATCH], {}


def _messages(file: Path, *, origin: str) -> list[Message]:
    try:
        with file.open("rb") as stream:
            return read_messages(stream)
    except (OSError, NotArrowError) as error:
        raise SourceError(f"{origin}: {_unreadable(error)}") from None


def _read_table(file: Path, offset: int, rows: int, *, origin: str) -> pa.Table:
    """Rows `offset` to `offset + rows - 1`, or fewer at the end of the file.

    The batches with these rows are joined into a small stream: pyarrow reads a stream only from its beginning, and decodes
    every batch that it passes.
    """
    needed, first = _needed(_messages(file, origin=origin), offset, rows)
    try:
        with file.open("rb") as stream:
            content = _schema_message(stream) + b"".join(_bytes_of(stream, message) for message in needed)
        table = pa.ipc.open_stream(pa.py_buffer(content + _END_OF_STREAM)).read_all()
        _require_sound(table)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise SourceError(f"{origin}: {_unreadable(error)}") from None
    return table.slice(offset - first, rows)


def _require_sound(table: pa.Table) -> None:
    """Raise ArrowInvalid for damaged offsets or indices, which would crash the process that follows them.

    An invalid value (text that is not UTF-8, a time of 24:00) is left to `frame_of`, which sets aside only its row.
    """
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        for column in table.columns:
            for chunk in column.chunks:
                as_stored(chunk).validate(full=True)


def _needed(messages: Sequence[Message], offset: int, rows: int) -> tuple[list[Message], int]:
    """The batches with some of the rows, the dictionaries before them, and the number of the first batch's first row."""
    start, first = 0, offset
    dictionaries: list[Message] = []
    needed: list[Message] = []
    for message in messages:
        if message.kind is Kind.DICTIONARY:
            dictionaries.append(message)
            continue
        if start < offset + rows and start + message.rows > offset:
            first = first if needed else start
            needed += [*dictionaries, message]
            dictionaries = []
        start += message.rows
    return needed, min(first, offset)


def _schema_message(stream: BinaryIO) -> bytes:
    """The schema, from either format, as a message of a stream."""
    stream.seek(0)
    is_file = stream.read(6) == b"ARROW1"
    stream.seek(0)
    reader = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(cast("io.IOBase", stream))
    return reader.schema.serialize().to_pybytes()


def _bytes_of(stream: BinaryIO, message: Message) -> bytes:
    stream.seek(message.offset)
    return stream.read(message.size)


def _unreadable(error: BaseException) -> str:
    """Why a file cannot be read. A library's text may quote what it read, so only the kind of error is passed on."""
    if refusal := system_refusal(error):
        return refusal
    why = str(error) if isinstance(error, NotArrowError) else type(error).__name__
    return f"not a readable Arrow file or stream ({why}); write it again"
