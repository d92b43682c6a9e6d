"""Text files: opened, decompressed within limits, and converted to UTF-8 in which undecodable bytes can still be found.

A byte that is invalid in the file's encoding becomes a sequence that is not valid UTF-8. So one check finds the records that do
not decode, whatever the encoding is. `source_bytes` restores such a record.
"""

import codecs
import re
import stat
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, field_validator

from rowledger.errors import SourceError, SpecError
from rowledger.sources.file_source import FileSource
from rowledger.sources.source_file import SourceFile
from rowledger.sources.system_errors import system_refusal

__all__ = ["Compression", "Text", "TextFiles", "is_utf8", "source_bytes", "undecodable"]

Compression = Literal["auto", "none", "gzip", "zstd"]

_BLOCK_BYTES = 8 * 2**20
_MARK_BYTES_MAX = 4
_EXPANSION_FREE_BYTES = 16 * 2**20
_ENDINGS: dict[str, Literal["gzip", "zstd"]] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_MAGIC: dict[bytes, Literal["gzip", "zstd"]] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_OTHER_MAGIC = {b"PK\x03\x04": "a zip archive", b"BZh": "compressed by bzip2", b"\xfd7zX": "compressed by xz"}
_RECORDS_BEHIND_A_WRONG_ONE = 16
"""After a wrong record, decoding continues with this many records, then with twice as many each time.

Decoding allocates memory for all its input, so a search of the whole rest after each wrong record would be slow.
"""
_SHORT_BYTES = 4096
_UNFIT_CODECS = {"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape", "utf_7"}

# In decoded text, a wrong byte is a surrogate from here on; encoded as UTF-8, a surrogate is never valid.
_WRONG_BYTE = 0xDC00
_WRONG_BYTES = re.compile("([\udc00-\udcff]+)")
_KEEP_WRONG_BYTES = "rowledger.keep-wrong-bytes"


def _keep_wrong_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101, used only for decoding
    return "".join(chr(_WRONG_BYTE + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_KEEP_WRONG_BYTES, _keep_wrong_bytes)


class Text(NamedTuple):
    """The text of one file: its codec, and its bytes as UTF-8, without a byte order mark, in blocks of some MiB.

    `offset` says where the text begins in the file whose very bytes it is; None where the file is compressed, or in another
    encoding.
    """

    codec: str
    offset: int | None
    blocks: Iterator[bytes]


class TextFiles(FileSource):
    """Text files in any encoding, which may be compressed."""

    may_repeat: ClassVar[bool] = True

    encoding: str = Field(default="utf-8", description="Encoding of the files, by a name that Python knows.")
    compression: Compression = Field(
        default="auto", description="gzip or zstd; auto: by the file's ending (.gz, .zst) or its first bytes."
    )
    record_bytes_max: int = Field(
        default=64 * 2**20, ge=1024, le=2**30, description="Bytes that one line or record may have, decompressed."
    )
    expansion_max: int = Field(
        default=200,
        ge=1,
        le=1_000_000,
        description="Decompressed bytes that one compressed byte may become, counted from 16 MiB on.",
    )
    columns_max: int = Field(
        default=1_600, ge=1, le=100_000, description="Columns a file may have; a PostgreSQL table has 1,600 at most."
    )

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)  # accepts only text encodings
            name = codecs.lookup(value).name
        except LookupError:
            raise SpecError(f"encoding {value!r} is not known; write e.g. utf-8, utf-16, latin-1 or cp1252") from None
        if name.replace("-", "_") in _UNFIT_CODECS:
            raise SpecError(
                f"encoding {value!r} does not say for each byte whether it is right; convert the file first"
            )
        return value

    def require_short(self, size: int, file: SourceFile) -> None:
        """Raise SourceError if a record of this size is longer than `record_bytes_max`."""
        if size > self.record_bytes_max:
            raise SourceError(
                f"{file.origin}: a record of {size:,} bytes or more, {self.record_bytes_max:,} are allowed; fix the file's "
                "line ends and quotes, or raise the source's record_bytes_max"
            )

    def text_of(self, file: SourceFile, *, block_bytes_max: int = _BLOCK_BYTES) -> Text:
        """The file's text; raises SourceError, also from the blocks. Where text is converted, blocks may be larger."""
        compression, blocks = self._decompressed(file, min(block_bytes_max, _BLOCK_BYTES))
        head = b""
        while len(head) < _MARK_BYTES_MAX and (block := next(blocks, b"")):
            head += block
        codec = _codec_of(self.encoding, head, file)
        mark = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
        is_in_place = codec == "utf-8" and compression == "none"
        return Text(codec, mark if is_in_place else None, _decoded(chain([head], blocks), codec))

    def _decompressed(
        self, file: SourceFile, block_bytes: int
    ) -> tuple[Literal["none", "gzip", "zstd"], Iterator[bytes]]:
        """The file's compression, and its decompressed bytes in blocks that are full except the last; raises SourceError."""
        try:
            status = file.path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise SourceError(f"{file.origin}: not a regular file; put a file there")
            with file.path.open("rb", buffering=0) as stream:
                compression = self._compression(file, stream.read(_MARK_BYTES_MAX))
        except OSError as error:
            raise SourceError(f"{file.origin}: {_unreadable(error)}") from None
        if compression != "none" and not status.st_size:
            raise SourceError(f"{file.origin}: empty, which {compression} data never is; write it again")
        return compression, self._blocks(file, compression, block_bytes)

    def _blocks(
        self, file: SourceFile, compression: Literal["none", "gzip", "zstd"], block_bytes: int
    ) -> Iterator[bytes]:
        try:
            with pa.OSFile(str(file.path), "rb") as stream:
                if compression != "none":
                    yield from self._expanded(file, stream, compression, block_bytes)
                    return
                while block := stream.read(block_bytes):
                    yield block
        except OSError as error:
            raise SourceError(f"{file.origin}: {_unreadable(error)}") from None

    def _compression(self, file: SourceFile, head: bytes) -> Literal["none", "gzip", "zstd"]:
        if self.compression != "auto":
            return self.compression
        for ending, codec in _ENDINGS.items():
            if file.name.lower().endswith(ending):
                return codec
        for magic, kind in _OTHER_MAGIC.items():
            if head.startswith(magic):
                raise SourceError(f"{file.origin}: is {kind}; unpack it, or compress it by gzip or zstd")
        return next((codec for magic, codec in _MAGIC.items() if head.startswith(magic)), "none")

    def _expanded(
        self, file: SourceFile, compressed: pa.NativeFile, codec: Literal["gzip", "zstd"], block_bytes: int
    ) -> Iterator[bytes]:
        expanded = 0
        with pa.CompressedInputStream(compressed, codec) as stream:
            while block := stream.read(block_bytes):
                expanded += len(block)
                if expanded > max(_EXPANSION_FREE_BYTES, self.expansion_max * compressed.tell()):
                    raise SourceError(
                        f"{file.origin}: {expanded:,} bytes out of {compressed.tell():,} compressed ones, and no end; one byte "
                        f"may become {self.expansion_max}. If it is no bomb, raise the source's expansion_max"
                    )
                yield block


def _decoded(blocks: Iterator[bytes], codec: str) -> Iterator[bytes]:
    """The text as UTF-8, without a byte order mark."""
    text = blocks if codec == "utf-8" else _transcoded(blocks, codec)
    yield next(text, b"").removeprefix(codecs.BOM_UTF8)
    yield from text


def _transcoded(blocks: Iterable[bytes], codec: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(codec)(_KEEP_WRONG_BYTES)
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "surrogatepass")
    yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")


def _codec_of(declared: str, head: bytes, file: SourceFile) -> str:
    """The codec with its byte order, which the file's byte order mark says where the declared encoding does not."""
    name = codecs.lookup(declared).name
    if name in {"utf-8", "utf-8-sig"}:
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise SourceError(f"{file.origin}: begins with the mark of UTF-16; declare encoding='utf-16'")
        return "utf-8"
    big_endian_marks = {"utf-16": codecs.BOM_UTF16_BE, "utf-32": codecs.BOM_UTF32_BE}
    if name not in big_endian_marks:
        return name
    return f"{name}-be" if head.startswith(big_endian_marks[name]) else f"{name}-le"


def source_bytes(record: bytes, codec: str) -> bytes:
    """A record for display: in UTF-8 if it decodes, otherwise with the file's bytes."""
    if codec == "utf-8" or is_utf8(record):
        return record
    pieces = _WRONG_BYTES.split(record.decode("utf-8", "surrogatepass"))
    return b"".join(
        bytes(ord(wrong) - _WRONG_BYTE for wrong in piece) if number % 2 else piece.encode(codec, "replace")
        for number, piece in enumerate(pieces)
    )


def undecodable(text: bytes, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> list[int]:
    """The numbers of the records that do not decode."""
    numbers: list[int] = []
    view = memoryview(text)
    if not len(ends) or _is_valid(view[: ends[-1]]):
        return numbers
    first, count = 0, len(starts)
    while first < len(starts):
        last = min(first + count, len(starts)) - 1
        wrong = _first_wrong(view[starts[first] : ends[last]])
        if wrong is None:
            first, count = last + 1, 2 * count
            continue
        number = int(np.searchsorted(starts, starts[first] + wrong, side="right")) - 1
        numbers.append(number)
        first, count = number + 1, _RECORDS_BEHIND_A_WRONG_ONE
    return numbers


def _is_valid(text: memoryview) -> bool:
    """Whether the text is valid UTF-8, in a fraction of the time that decoding takes, and without its memory."""
    offsets = np.array([0, len(text)], dtype=np.int64)
    array = pa.Array.from_buffers(pa.large_string(), 1, [None, pa.py_buffer(offsets.data), pa.py_buffer(text)])
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def is_utf8(text: bytes) -> bool:
    """Whether the text is valid UTF-8."""
    return _is_valid(memoryview(text)) if len(text) > _SHORT_BYTES else _first_wrong(text) is None


def _first_wrong(text: bytes | memoryview) -> int | None:
    try:
        codecs.utf_8_decode(text, "strict", True)  # noqa: FBT003, a positional-only parameter
    except UnicodeDecodeError as error:
        return error.start
    return None


def _unreadable(error: OSError) -> str:
    """Why a file cannot be read. A library's text may quote what it read, so only the kind of error is passed on."""
    return system_refusal(error) or (
        "cannot be decompressed: truncated, damaged or compressed in another way; write it again"
    )
