"""Open the text of a file: decompressed within limits, as UTF-8, block by block."""

import codecs
from collections.abc import Iterator
from itertools import chain
from typing import Literal, NamedTuple

import pyarrow as pa

from rowledger.errors import SourceError
from rowledger.sources.source_file import SourceFile
from rowledger.sources.system_errors import system_refusal
from rowledger.sources.text_encoding import decoded
from rowledger.sources.text_files import TextFiles

__all__ = ["Text", "text_of"]

_Codec = Literal["none", "gzip", "zstd"]

_BLOCK_BYTES = 8 * 2**20
_MARK_BYTES_MAX = 4
_EXPANSION_FREE_BYTES = 16 * 2**20
_ENDINGS: dict[str, _Codec] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_MAGIC: dict[bytes, _Codec] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_OTHER_MAGIC = {b"PK\x03\x04": "a zip archive", b"BZh": "compressed by bzip2", b"\xfd7zX": "compressed by xz"}


class Text(NamedTuple):
    """The text of one file: its codec, and its bytes as UTF-8, without a byte order mark, in blocks of some MiB.

    `offset` says where the text begins in the file whose very bytes it is; None where the file is compressed, or in another
    encoding.
    """

    codec: str
    offset: int | None
    blocks: Iterator[bytes]


def text_of(source: TextFiles, file: SourceFile, *, block_bytes_max: int = _BLOCK_BYTES) -> Text:
    """The file's text; raises SourceError, also from the blocks. Where text is converted, blocks may be larger."""
    compression, blocks = _decompressed(source, file, min(block_bytes_max, _BLOCK_BYTES))
    head = b""
    while len(head) < _MARK_BYTES_MAX and (block := next(blocks, b"")):
        head += block
    codec = _codec_of(source.encoding, head, file)
    mark = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    is_in_place = codec == "utf-8" and compression == "none"
    return Text(codec, mark if is_in_place else None, decoded(chain([head], blocks), codec))


def _decompressed(source: TextFiles, file: SourceFile, block_bytes: int) -> tuple[_Codec, Iterator[bytes]]:
    """The file's compression, and its decompressed bytes in blocks that are full except the last; raises SourceError."""
    try:
        size = file.path.stat().st_size
        with file.path.open("rb", buffering=0) as stream:
            compression = _compression(source, file, stream.read(_MARK_BYTES_MAX))
    except OSError as error:
        raise SourceError(f"{file.origin}: {_unreadable(error)}") from None
    if compression != "none" and not size:
        raise SourceError(f"{file.origin}: empty, which {compression} data never is; write it again")
    return compression, _blocks(source, file, compression, block_bytes)


def _blocks(source: TextFiles, file: SourceFile, compression: _Codec, block_bytes: int) -> Iterator[bytes]:
    try:
        if compression != "none":
            yield from _expanded(source, file, compression, block_bytes)
            return
        with pa.OSFile(str(file.path), "rb") as stream:
            while block := stream.read(block_bytes):
                yield block
    except OSError as error:
        raise SourceError(f"{file.origin}: {_unreadable(error)}") from None


def _compression(source: TextFiles, file: SourceFile, head: bytes) -> _Codec:
    if source.compression != "auto":
        return source.compression
    for ending, codec in _ENDINGS.items():
        if file.name.lower().endswith(ending):
            return codec
    for magic, kind in _OTHER_MAGIC.items():
        if head.startswith(magic):
            raise SourceError(f"{file.origin}: is {kind}; unpack it, or compress it by gzip or zstd")
    return next((codec for magic, codec in _MAGIC.items() if head.startswith(magic)), "none")


def _expanded(source: TextFiles, file: SourceFile, codec: Literal["gzip", "zstd"], block_bytes: int) -> Iterator[bytes]:
    from rowledger.sources.decompression import decompressed  # noqa: PLC0415, most text is not compressed

    expanded = 0
    with file.path.open("rb", buffering=0) as compressed, decompressed(compressed, codec) as stream:
        while block := stream.read(block_bytes):
            expanded += len(block)
            if expanded > max(_EXPANSION_FREE_BYTES, source.expansion_max * compressed.tell()):
                raise SourceError(
                    f"{file.origin}: {expanded:,} bytes out of {compressed.tell():,} compressed ones, and no end; one byte "
                    f"may become {source.expansion_max}. If it is no bomb, raise the source's expansion_max"
                )
            yield block


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


def _unreadable(error: OSError) -> str:
    """Why a file cannot be read. A library's text may quote what it read, so only the kind of error is passed on."""
    return system_refusal(error) or (
        "cannot be decompressed: truncated, damaged or compressed in another way; write it again"
    )
