"""Check whether a local file is still the one that was planned; all file sources use these checks.

A file is looked at when it is open, and readers read the file that is open, whatever its name leads to meanwhile. Opening is
also what has NFS ask its server: before, a client may still believe in attributes that it has seen a minute ago.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import xxhash

from rowledger.errors import SourceError
from rowledger.sources.source_file import SourceFile
from rowledger.sources.system_errors import system_refusal
from rowledger.spec import ChunkDescriptor

__all__ = ["FileStatus", "as_planned", "file_digest", "file_status", "unchanged"]

_READ_BYTES = 1 << 20
_DESCRIPTORS = Path(
    "/proc/self/fd"
)  # each opens the file itself anew; /dev/fd of macOS would share one position among readers
_REMEDY = "write it again (materialize the asset that makes it, if there is one) and rerun"


class FileStatus(NamedTuple):
    """What changes when a file is replaced or written to; the fields have their names in `ChunkDescriptor`.

    A program can set the modification time back, but not the change time, which the system keeps. A file that was renamed into
    place has another inode.
    """

    file_bytes: int
    file_mtime_ns: int
    file_ctime_ns: int
    file_inode: int


def file_status(file: Path) -> FileStatus:
    """The file's current status; raises SourceError."""
    with _opened(file) as (_, status):
        return status


@contextmanager
def unchanged(file: SourceFile, *, while_it_was: str) -> Iterator[tuple[SourceFile, FileStatus]]:
    """Open the file, and yield it, by a path that leads to no other one, with its status.

    Raise SourceError if, at the end of the block, its name leads to another file, or it has changed.
    """
    with _opened(file.path) as (path, before):
        yield replace(file, path=path), before
    if (after := file_status(file.path)) != before:
        raise SourceError(
            f"{file.origin}: changed while it was {while_it_was} ({before} to {after}); rerun when it is complete"
        )


def file_digest(file: Path, origin: str | None = None) -> str:
    """XXH3-128 over the file's bytes, in hexadecimal; raises SourceError, which names the origin."""
    digest = xxhash.xxh3_128()
    try:
        with file.open("rb", buffering=0) as stream:
            while block := stream.read(_READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise SourceError(f"{origin or file}: {error.strerror} while reading it") from None
    return digest.hexdigest()


@contextmanager
def as_planned(descriptor: ChunkDescriptor) -> Iterator[Path]:
    """Yield a path that leads to the chunk's file and to no other one, while the block reads it.

    Raise SourceError unless the file has the content that was planned, before and after the block.
    """
    file = Path(descriptor.path)
    with _opened(file) as (path, status):
        require_as_planned(path, status, descriptor)
        yield path
    with _opened(file) as (path, status):  # again: it may have been written to, or replaced, in between
        require_as_planned(path, status, descriptor)


def require_as_planned(path: Path, now: FileStatus, descriptor: ChunkDescriptor) -> None:
    """Raise SourceError unless the file has the content that was planned; `path` leads to it."""
    file = descriptor.path
    if now.file_bytes != descriptor.file_bytes:
        raise SourceError(
            f"{file}: {now.file_bytes} bytes now, {descriptor.file_bytes} when it was planned; "
            "rerun to plan and load it as it is now"
        )
    planned = FileStatus(*(getattr(descriptor, name) for name in FileStatus._fields))
    # A file that was copied, touched or mounted elsewhere has another status, but may have the same bytes: these decide.
    if now != planned and file_digest(path, file) != descriptor.file_digest:
        raise SourceError(f"{file}: its content changed since it was planned; rerun to plan and load it as it is now")


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Path, FileStatus]]:
    """Open the file while the block runs, and yield a path to it and its status; raises SourceError.

    Where a descriptor has no path of its own, the path is the file's name.
    """
    try:
        descriptor = os.open(
            file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
        )  # a FIFO would wait for who writes into it
    except OSError as error:
        raise SourceError(f"{file}: {system_refusal(error, when_missing=_REMEDY) or error.strerror}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SourceError(f"{file}: not a regular file; put a file there")
        path = _DESCRIPTORS / str(descriptor)
        status = FileStatus(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        yield path if path.exists() else file, status
    finally:
        os.close(descriptor)
