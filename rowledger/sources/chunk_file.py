"""A chunk's file of the spool while it is being written."""

import contextlib
import io
import sys
from contextlib import ExitStack
from typing import Any, BinaryIO

import pyarrow as pa
import xxhash

from rowledger.machine import require_free_space
from rowledger.sources.spool_files import spool_file
from rowledger.sources.spool_reader import SPOOL_FORMAT
from rowledger.spec import SourceContext

__all__ = ["ChunkFile"]


class ChunkFile:
    """An Arrow IPC file, which has its name only when it is complete; all methods raise SourceError and NotEnoughSpace."""

    def __init__(self, scope: SourceContext, name: str, schema: pa.Schema, first_bytes: int) -> None:
        """`first_bytes` is the size of the first rows."""
        self._scope = scope
        self.schema = schema
        with ExitStack() as opened:
            self.path, stream = opened.enter_context(spool_file(scope, name, first_bytes))
            self._hashed = _Hashed(stream)
            self._writer = opened.enter_context(pa.ipc.new_file(self._hashed, schema.with_metadata(SPOOL_FORMAT)))
            self._opened = opened.pop_all()

    def write(self, batch: pa.RecordBatch) -> None:
        """Write rows of the file's schema."""
        require_free_space(self._scope.spool_dir, self._scope.disk_free_min_bytes + batch.nbytes)
        try:
            self._writer.write_batch(batch)
        except OSError:
            self._opened.__exit__(*sys.exc_info())  # raises what the error means for the spool
            raise

    def complete(self) -> str:
        """Give the file its name; returns the digest of its bytes, XXH3-128 in hexadecimal."""
        self._opened.close()
        return self._hashed.digest.hexdigest()

    def abandon(self) -> None:
        """Delete what was written."""
        with contextlib.suppress(Exception):
            self._opened.__exit__(_Abandoned, _Abandoned(), None)


class _Abandoned(Exception):
    """The file is not wanted."""


class _Hashed(io.RawIOBase):
    """A stream with the digest of what was written to it. Its flush and close leave the given stream to its owner."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = xxhash.xxh3_128()

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:  # noqa: ANN401, whatever has a buffer
        self.digest.update(content)
        return self._stream.write(content)

    def tell(self) -> int:
        return self._stream.tell()
