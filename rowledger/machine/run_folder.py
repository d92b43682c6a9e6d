"""The folder in which a run keeps what its sources spool, and the removal of folders that dead runs have left.

A run holds a lock next to its folder from before the folder is created until it is gone. A run that gets the lock of
an existing folder therefore knows that no run needs the folder any more. No name is used twice, so the lock's file
may be deleted with its folder.
"""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from rowledger.errors import NotEnoughSpace

__all__ = ["spool_folder"]

_PRIVATE = 0o700  # the folder contains rows
_LOCK_SUFFIX = ".lock"
_LOCK_TIMEOUT_S = 10.0
_ABANDONED_LOCK_S = 3_600.0  # a run creates its folder as soon as it has its lock


@contextlib.contextmanager
def spool_folder(root: Path, name: str) -> Iterator[Path]:
    """A folder `name` below `root`, which is deleted after the block. Removes abandoned folders first."""
    folder = root / name
    lock = _lock_of(folder)
    try:
        root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        _sweep(root)
        lock.acquire(timeout=_LOCK_TIMEOUT_S)
        folder.mkdir(mode=_PRIVATE)
    except OSError as error:  # the Timeout of the lock is an OSError too
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
    """Delete the folder. A later run removes what cannot be deleted now: this must not hide how the run ended."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink()
    finally:
        lock.release()
