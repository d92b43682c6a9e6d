"""Write files that appear complete or not at all; a durable file is on the disk when it appears."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["durable_file", "whole_file"]


@contextmanager
def durable_file(file: Path) -> Iterator[BinaryIO]:
    """Open a stream whose bytes become `file`, mode 0600, if the block succeeds, and are deleted if not; raises OSError.

    The bytes are written to a temporary file in the same folder and flushed to disk; then the file is renamed and the folder
    flushed. So no reader sees an incomplete file, and no crash leaves one under this name.
    """
    with whole_file(file) as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # makes the rename durable
    finally:
        os.close(folder)


@contextmanager
def whole_file(file: Path) -> Iterator[BinaryIO]:
    """The same without flushing to disk: no reader sees an incomplete file unless the system crashes."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
