"""Decompress the bytes of a file, in a process that reads compressed files."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from typing import Literal, Protocol

import pyarrow as pa
from isal import igzip, isal_zlib

__all__ = ["Readable", "decompressed"]


class Readable(Protocol):
    """What gives bytes in pieces; an empty one is the end."""

    def read(self, nbytes: int, /) -> bytes: ...


@contextmanager
def decompressed(compressed: FileIO, codec: Literal["gzip", "zstd"]) -> Iterator[Readable]:
    """The decompressed bytes of an open file, all members of it; OSError where they are damaged, or end too early.

    igzip takes a third of the time that zlib takes, which is behind pyarrow's gzip.
    """
    try:
        if codec == "gzip":
            with igzip.open(compressed, "rb") as stream:  # type: ignore[no-untyped-call]
                yield stream
        else:
            with pa.CompressedInputStream(compressed, codec) as stream:
                yield stream
    except (
        EOFError,
        isal_zlib.error,  # type: ignore[misc]  # a class, which its stub takes for an instance
        OverflowError,  # a name or comment in a header of more than 512 KiB
    ) as error:
        raise OSError(str(error)) from None
