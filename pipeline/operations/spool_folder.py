"""The folder in which a run keeps what its sources spool, and the sweeping of those that dead runs left behind.

A run holds a lock on its folder for as long as it lives: whoever gets the lock knows that nobody needs the folder any more.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import NotEnoughSpace

__all__ = ["spool_folder"]

_LOCK = "lock"
_PRIVATE = 0o700  # rows are in there


@contextlib.contextmanager
def spool_folder(root: Path, name: str) -> Iterator[Path]:
    """A folder `name` below `root` for the length of the block; gone behind it. Sweeps abandoned neighbours first."""
    folder = root / name
    try:
        root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        _sweep(root)
        folder.mkdir(mode=_PRIVATE)
    except OSError as error:
        raise NotEnoughSpace(f"{folder}: {error.strerror}; a run keeps spooled rows there (ROWLEDGER_HOME)") from None
    lock = FileLock(folder / _LOCK)
    lock.acquire()
    try:
        yield folder
    finally:
        # What cannot be deleted now is swept by a later run; it must not hide how this one ended.
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _sweep(root: Path) -> None:
    for folder in root.iterdir():
        lock = FileLock(folder / _LOCK)
        with contextlib.suppress(Timeout, OSError):
            lock.acquire(timeout=0)
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                lock.release()
