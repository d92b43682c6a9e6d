"""Files that appear whole or not at all, and that are on the disk when they appear."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["durable_file"]


@contextmanager
def durable_file(file: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes become `file`, mode 0600, when the block ends well, and vanish otherwise; raises OSError.

    Written beside, flushed to disk, renamed, the folder flushed: neither a reader nor a crash meets half a file.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
