"""Whether a file on this machine still is the one that was planned: the guards that all file sources share."""

from pathlib import Path

import xxhash

from pipeline.errors import SourceError
from pipeline.model.manifest import ChunkDescriptor

__all__ = ["file_digest", "file_status", "require_as_planned"]

_READ_BYTES = 1 << 20


def file_status(file: Path) -> tuple[int, int]:
    """Size in bytes and modification time in ns; raises SourceError."""
    try:
        status = file.stat()
    except OSError as error:
        raise SourceError(
            f"{file}: {error.strerror}; write it again (materialize the landing asset) and rerun"
        ) from None
    return status.st_size, status.st_mtime_ns


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
    size, mtime_ns = file_status(file)
    if size != descriptor.file_bytes:
        raise SourceError(
            f"{file}: {size} bytes now, {descriptor.file_bytes} when it was planned; rerun to plan and load it as it is now"
        )
    # Copied or touched is not changed.
    if mtime_ns != descriptor.file_mtime_ns and file_digest(file) != descriptor.file_digest:
        raise SourceError(f"{file}: its content changed since it was planned; rerun to plan and load it as it is now")
