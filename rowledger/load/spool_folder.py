"""The folder in which a run keeps what its sources spool, and the sweeping of those that dead runs left behind.

A run holds a lock beside its folder from before the folder is made until it is gone: whoever gets the lock of a folder that
is there knows that nobody needs it any more. No name is used twice, so a lock's file may go with its folder.
"""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from rowledger.errors import NotEnoughSpace

__all__ = ["spool_folder"]

_PRIVATE = 0o700  # rows are in there
_LOCK_SUFFIX = ".lock"
_LOCK_TIMEOUT_S = 10.0
_ABANDONED_LOCK_S = 3_600.0  # a run makes its folder as soon as it has its lock


@contextlib.contextmanager
def spool_folder(root: Path, name: str) -> Iterator[Path]:
    """A folder `name` below `root` for the length of the block; gone behind it. Sweeps abandoned neighbours first."""
    folder = root / name
    lock = _lock_of(folder)
    try:
        root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        _sweep(root)
        lock.acquire(timeout=_LOCK_TIMEOUT_S)
        folder.mkdir(mode=_PRIVATE)
    except OSError as error:  # a Timeout of the lock is one too
        lock.release()
        raise NotEnoughSpace(
            f"{folder}: {error.strerror or 'cannot be locked'}; a run keeps spooled rows there (ROWLEDGER_HOME)"
        ) from None
    try:
        yield folder
    finally:
        _remove(folder, lock)


def _lock_of(folder: Path) -> FileLock:
    return FileLock(folder.with_name(folder.name + _LOCK_SUFFIX), mode=0o600)


def _sweep(root: Path) -> None:
    for entry in root.iterdir():
        with contextlib.suppress(Timeout, OSError):
            if entry.is_dir():
                lock = _lock_of(entry)
                lock.acquire(timeout=0)
                _remove(entry, lock)
            elif time.time() - entry.stat().st_mtime > _ABANDONED_LOCK_S and not entry.with_suffix("").exists():
                entry.unlink()


def _remove(folder: Path, lock: FileLock) -> None:
    """What cannot be deleted now is swept by a later run; it must not hide how this one ended."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink()
    finally:
        lock.release()
