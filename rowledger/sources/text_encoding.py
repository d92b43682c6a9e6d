"""Text in UTF-8 in which bytes that are wrong in the file's own encoding can still be found.

A byte that is invalid in the file's encoding becomes a sequence that is not valid UTF-8. So one check finds the records that do
not decode, whatever the encoding is. `source_bytes` restores such a record.
"""

import codecs
import re
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["decoded", "is_utf8", "source_bytes", "undecodable"]

_RECORDS_BEHIND_A_WRONG_ONE = 16
"""After a wrong record, decoding continues with this many records, then with twice as many each time.

Decoding allocates memory for all its input, so a search of the whole rest after each wrong record would be slow.
"""
_SHORT_BYTES = 4096

# In decoded text, a wrong byte is a surrogate from here on; encoded as UTF-8, a surrogate is never valid.
_WRONG_BYTE = 0xDC00
_WRONG_BYTES = re.compile("([\udc00-\udcff]+)")
_KEEP_WRONG_BYTES = "rowledger.keep-wrong-bytes"


def _keep_wrong_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101, used only for decoding
    return "".join(chr(_WRONG_BYTE + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_KEEP_WRONG_BYTES, _keep_wrong_bytes)


def decoded(blocks: Iterator[bytes], codec: str) -> Iterator[bytes]:
    """The text as UTF-8, without a byte order mark."""
    text = blocks if codec == "utf-8" else _transcoded(blocks, codec)
    yield next(text, b"").removeprefix(codecs.BOM_UTF8)
    yield from text


def _transcoded(blocks: Iterable[bytes], codec: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(codec)(_KEEP_WRONG_BYTES)
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "surrogatepass")
    yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")


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
