"""Write files into the spool folder of a partition."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rowledger.errors import NotEnoughSpace, SourceError
from rowledger.machine import require_free_space
from rowledger.sources.durable_writes import whole_file
from rowledger.spec import SourceContext

__all__ = ["spool_file"]


@contextmanager
def spool_file(scope: SourceContext, name: str, size: int) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file for about `size` bytes, and the stream to write them; it is complete after the block.

    It is not flushed to disk: only the run that writes it reads it, and a run does not outlive the system.
    Raises SourceError and NotEnoughSpace.
    """
    file = scope.spool_dir / name
    require_free_space(scope.spool_dir, scope.disk_free_min_bytes + size)
    try:
        with whole_file(file) as stream:
            yield file, stream
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NotEnoughSpace(
                f"{file}: {error.strerror} while spooling {size:,} bytes; make room on that disk and rerun"
            ) from None
        raise SourceError(f"{file}: {error.strerror} while spooling; fix that folder and rerun") from None
