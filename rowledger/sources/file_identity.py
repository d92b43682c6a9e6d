"""Whether a file on this machine still is the one that was planned: the guards that all file sources share."""

from pathlib import Path
from typing import NamedTuple

import xxhash

from rowledger.errors import SourceError
from rowledger.spec import ChunkDescriptor

__all__ = ["FileStatus", "file_digest", "file_status", "require_as_planned"]

_READ_BYTES = 1 << 20


class FileStatus(NamedTuple):
    """What changes when another file is put in place of one, or other bytes into it.

    The modification time can be set to what it was before; the time of change, which the system keeps, cannot, and a file
    that was renamed into place has an inode of its own.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def file_status(file: Path) -> FileStatus:
    """The file's status as it is now; raises SourceError."""
    try:
        status = file.stat()
    except OSError as error:
        raise SourceError(
            f"{file}: {error.strerror}; write it again (materialize the asset that makes it, if there is one) and rerun"
        ) from None
    return FileStatus(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


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


def require_as_planned(file: Path, descriptor: ChunkDescriptor) -> None:
    """Raise SourceError unless the file has the content that was planned; call it before and after reading."""
    now = file_status(file)
    if now.size != descriptor.file_bytes:
        raise SourceError(
            f"{file}: {now.size} bytes now, {descriptor.file_bytes} when it was planned; rerun to plan and load it as it is now"
        )
    d = descriptor
    planned = FileStatus(d.file_bytes, d.file_mtime_ns, d.file_ctime_ns, d.file_inode)
    # Copied, touched or seen through another mount is not changed: then the bytes decide.
    if now != planned and file_digest(file) != descriptor.file_digest:
        raise SourceError(f"{file}: its content changed since it was planned; rerun to plan and load it as it is now")
