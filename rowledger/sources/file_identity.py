"""Check whether a local file is still the one that was planned; all file sources use these checks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import xxhash

from rowledger.errors import SourceError
from rowledger.spec import ChunkDescriptor

__all__ = ["FileStatus", "as_planned", "file_digest", "file_status", "unchanged"]

_READ_BYTES = 1 << 20


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
    try:
        status = file.stat()
    except OSError as error:
        raise SourceError(
            f"{file}: {error.strerror}; write it again (materialize the asset that makes it, if there is one) and rerun"
        ) from None
    return FileStatus(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@contextmanager
def unchanged(file: Path, origin: str, *, while_it_was: str) -> Iterator[FileStatus]:
    """Yield the file's status; raise SourceError if it has changed at the end of the block."""
    before = file_status(file)
    yield before
    if (after := file_status(file)) != before:
        raise SourceError(
            f"{origin}: changed while it was {while_it_was} ({before} to {after}); rerun when it is complete"
        )


def file_digest(file: Path) -> str:
    """XXH3-128 over the file's bytes, in hexadecimal; raises SourceError."""
    digest = xxhash.xxh3_128()
    try:
        with file.open("rb", buffering=0) as stream:
            while block := stream.read(_READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise SourceError(f"{file}: {error.strerror} while reading it") from None
    return digest.hexdigest()


@contextmanager
def as_planned(file: Path, descriptor: ChunkDescriptor) -> Iterator[None]:
    """Raise SourceError unless the file has the content that was planned, before and after the block, which reads it."""
    require_as_planned(file, descriptor)
    yield
    require_as_planned(file, descriptor)  # again: the file may have been replaced in between


def require_as_planned(file: Path, descriptor: ChunkDescriptor) -> None:
    """Raise SourceError unless the file has the content that was planned."""
    now = file_status(file)
    if now.file_bytes != descriptor.file_bytes:
        raise SourceError(
            f"{file}: {now.file_bytes} bytes now, {descriptor.file_bytes} when it was planned; "
            "rerun to plan and load it as it is now"
        )
    planned = FileStatus(*(getattr(descriptor, name) for name in FileStatus._fields))
    # A file that was copied, touched or mounted elsewhere has another status, but may have the same bytes: these decide.
    if now != planned and file_digest(file) != descriptor.file_digest:
        raise SourceError(f"{file}: its content changed since it was planned; rerun to plan and load it as it is now")
