"""The kinds and sizes of the messages of an Arrow IPC file or stream, read without their data.

pyarrow reports neither the rows of a batch nor the uncompressed size of its buffers before it has decoded them. The metadata
are flatbuffers; see https://arrow.apache.org/docs/format/Columnar.html and `Message.fbs`, `File.fbs` there.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from typing import BinaryIO

__all__ = ["Kind", "Message", "NotArrowError", "read_messages"]

_MAGIC = b"ARROW1"
_CONTINUATION = 0xFFFF_FFFF
_METADATA_BYTES_MAX = 256 * 2**20
_LENGTH_BYTES = 8  # before each compressed buffer


class NotArrowError(Exception):
    """The bytes are not a complete Arrow file or stream; the message says why."""


class Kind(IntEnum):
    """The kinds of messages, with the numbers of the format's `MessageHeader`."""

    SCHEMA = 1
    DICTIONARY = 2
    BATCH = 3


@dataclass(frozen=True, slots=True)
class Message:
    """One message: `size` bytes of the file from `offset` on, its rows, and the uncompressed bytes of its data."""

    kind: Kind
    offset: int
    size: int
    rows: int
    data_bytes: int


def read_messages(stream: BinaryIO) -> list[Message]:
    """The dictionaries and batches, for a file the dictionaries first. Raises NotArrowError and OSError."""
    file_bytes = stream.seek(0, os.SEEK_END)
    try:
        if _at(stream, 0, len(_MAGIC)) == _MAGIC:
            return list(_messages_of_file(stream, file_bytes))
        return list(_messages_of_stream(stream, file_bytes))
    except struct.error:
        raise NotArrowError("its metadata are damaged") from None


def _messages_of_file(stream: BinaryIO, file_bytes: int) -> Iterator[Message]:
    """The messages that the footer lists. The bytes between them need not form a stream; in files of polars they do not."""
    tail = len(_MAGIC) + 4
    if file_bytes < 2 * tail or _at(stream, file_bytes - len(_MAGIC), len(_MAGIC)) != _MAGIC:
        raise NotArrowError("it has a head and no end: truncated")
    (footer_bytes,) = struct.unpack("<i", _at(stream, file_bytes - tail, 4))
    footer = _Table(_at(stream, file_bytes - tail - footer_bytes, footer_bytes))
    for field in (2, 3):  # dictionaries, record batches
        for offset, _metadata_bytes, _body_bytes in footer.structs(field, "<qi4xq"):
            message = _message_at(stream, offset, file_bytes)
            if message is None:
                raise NotArrowError("its footer names a message that is none")
            yield message


def _messages_of_stream(stream: BinaryIO, file_bytes: int) -> Iterator[Message]:
    offset = 0
    while (message := _message_at(stream, offset, file_bytes)) is not None:
        if (offset == 0) != (message.kind is Kind.SCHEMA):
            raise NotArrowError("it does not have one schema at its beginning")
        if offset > 0:
            yield message
        offset += message.size
    # The format lets a stream end without a mark. Such a stream is refused, since it may be truncated.
    if offset in {0, file_bytes}:
        raise NotArrowError("it has no mark at its end: truncated, or its writer was not closed")
    (mark,) = struct.unpack("<I", _at(stream, offset, 4))
    if (rest := file_bytes - offset - (8 if mark == _CONTINUATION else 4)) > 0:
        raise NotArrowError(f"there are {rest} bytes behind the end of its stream")


def _message_at(stream: BinaryIO, offset: int, file_bytes: int) -> Message | None:
    """The message that begins at `offset`; None for the mark at a stream's end, and at the end of the file."""
    if offset == file_bytes:
        return None
    (metadata_bytes,) = struct.unpack("<I", _at(stream, offset, 4))
    prefix = 4
    if metadata_bytes == _CONTINUATION:  # Arrow before 0.15 wrote none
        (metadata_bytes,) = struct.unpack("<I", _at(stream, offset + 4, 4))
        prefix = 8
    if metadata_bytes == 0:
        return None
    if metadata_bytes > _METADATA_BYTES_MAX:
        raise NotArrowError("its metadata are damaged")
    message = _Table(_at(stream, offset + prefix, metadata_bytes))
    body_bytes = message.number(3, "<q")
    body = offset + prefix + metadata_bytes
    if body_bytes < 0 or body + body_bytes > file_bytes:
        raise NotArrowError("it ends in the middle of a message: truncated")
    size = prefix + metadata_bytes + body_bytes
    header = message.table(2)
    match message.number(1, "<B"):
        case Kind.SCHEMA:
            return Message(Kind.SCHEMA, offset, size, 0, 0)
        case Kind.DICTIONARY:
            batch = header.table(1)
            return Message(Kind.DICTIONARY, offset, size, 0, _data_bytes(stream, body, body_bytes, batch))
        case Kind.BATCH:
            rows = header.number(0, "<q")
            if any(column_rows != rows for column_rows, _nulls in islice(header.structs(1, "<qq"), 1)):
                raise NotArrowError("a batch has another number of rows than its first column")
            return Message(Kind.BATCH, offset, size, rows, _data_bytes(stream, body, body_bytes, header))
    raise NotArrowError("it has messages of an unknown kind")


def _data_bytes(stream: BinaryIO, body: int, body_bytes: int, batch: "_Table") -> int:
    """Bytes of all buffers; for a compressed buffer the size that it declares, which the decoder enforces."""
    if not batch.has(3):
        return body_bytes
    total = 0
    for offset, size in batch.structs(2, "<qq"):
        if size < _LENGTH_BYTES or offset < 0 or offset + size > body_bytes:  # an empty buffer has no length before it
            continue
        (declared,) = struct.unpack("<q", _at(stream, body + offset, _LENGTH_BYTES))
        total += size - _LENGTH_BYTES if declared < 0 else declared
    return total


def _at(stream: BinaryIO, offset: int, size: int) -> bytes:
    """`size` bytes from `offset` on; raises NotArrowError where the file ends before."""
    if offset < 0 or size < 0:
        raise NotArrowError("its metadata are damaged")
    stream.seek(offset)
    content = stream.read(size)
    if len(content) < size:
        raise NotArrowError("it ends in the middle of a message: truncated")
    return content


class _Table:
    """A table of a flatbuffer, its root if no position is given. Damage leads to `struct.error`, or to a wrong number."""

    def __init__(self, content: bytes, position: int | None = None) -> None:
        self._content = content
        self._position = self._read("<I", 0) if position is None else position
        self._vtable = self._position - self._read("<i", self._position)
        if self._vtable < 0:  # a negative position would count from the end
            raise struct.error
        self._fields = (self._read("<H", self._vtable) - 4) // 2

    def has(self, field: int) -> bool:
        return self._offset(field) != 0

    def number(self, field: int, form: str) -> int:
        offset = self._offset(field)
        return self._read(form, self._position + offset) if offset else 0

    def table(self, field: int) -> "_Table":
        return _Table(self._content, self._target(field))

    def structs(self, field: int, form: str) -> Iterator[tuple[int, ...]]:
        if not self.has(field):
            return
        start = self._target(field)
        for number in range(self._read("<I", start)):
            yield struct.unpack_from(form, self._content, start + 4 + number * struct.calcsize(form))

    def _offset(self, field: int) -> int:
        return self._read("<H", self._vtable + 4 + 2 * field) if field < self._fields else 0

    def _target(self, field: int) -> int:
        if not self.has(field):
            raise struct.error
        at = self._position + self._offset(field)
        return at + self._read("<I", at)

    def _read(self, form: str, position: int) -> int:
        number: int = struct.unpack_from(form, self._content, position)[0]
        return number
