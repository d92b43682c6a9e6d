"""Files of a chunk that only the head's machine has: those of the run's spool folder.

Rows that were spooled, and text that was converted, travel to the host: of a byte range its bytes alone. A file that was
fetched from an object store is fetched again there, by its origin. The host holds each against its digest, and gives the worker
a descriptor that names the host's own copies.
"""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import xxhash

from rowledger import sources
from rowledger.chunk import ChunkJob
from rowledger.errors import NotEnoughSpace, SourceError
from rowledger.hosts.messages import SentFile
from rowledger.machine import require_free_space
from rowledger.settings import settings
from rowledger.sources import file_status, is_fetchable, is_fetched
from rowledger.spec import ChunkDescriptor

__all__ = ["MissingFile", "Packed", "ReceivedFiles", "pack"]


class MissingFile(Exception):
    """A file could not be had from its origin, or arrived with other bytes."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Packed:
    """A job whose descriptor names the files that are sent with it, these files, and the bytes of those that follow it."""

    job: ChunkJob
    files: tuple[SentFile, ...]
    content: bytes


def pack(job: ChunkJob, spool_dir: Path, *, sent_whole: bool = False) -> Packed:
    """What has to be sent with a job; raises SourceError. With `sent_whole` also the files that other chunks read too.

    Reads files: call it in a thread.
    """
    files: dict[str, SentFile] = {}
    content: list[bytes] = []

    def send(name: str, data: bytes, *, shared: bool = False) -> str:
        if name not in files:
            digest = xxhash.xxh3_128_hexdigest(data)
            files[name] = SentFile(name=name, digest=digest, size=len(data), shared=shared)
            content.append(data)
        return name

    def name_of(path: str) -> str | None:
        """The file's name in the spool folder; None for a file that is elsewhere, which hosts have to see themselves."""
        return Path(path).relative_to(spool_dir).as_posix() if path and Path(path).is_relative_to(spool_dir) else None

    def packed(descriptor: ChunkDescriptor) -> ChunkDescriptor:
        path, text, name = descriptor.path, descriptor.text, name_of(descriptor.path)
        if text is not None and (records := name_of(text.records)) is not None:
            text = text.model_copy(update={"records": send(records, _read(text.records))})
        if name is not None:
            if text is not None:
                path = send(f"{name}@{text.offset}", _read(path, text.offset, text.length))
                text = text.model_copy(update={"offset": 0})
            else:
                of_bytes = descriptor.file_digest.partition(" ")[0]  # what follows is not of the file's bytes
                if is_fetched(path) and not sent_whole:
                    origin = descriptor.origin if is_fetchable(descriptor.origin) else ""
                    size = descriptor.file_bytes
                    files[name] = SentFile(
                        name=name, digest=of_bytes, size=size, origin=origin, follows=False, shared=True
                    )
                else:
                    send(name, _read(path), shared=is_fetched(path))
                    if files[name].digest != of_bytes:  # the host looks whether it has what was sent
                        raise SourceError(
                            f"{path}: its content changed since it was planned; rerun to load it as it is now"
                        )
                path = name
        return descriptor.model_copy(update={"path": path, "text": text})

    return Packed(_with_paths(job, packed), tuple(files.values()), b"".join(content))


class ReceivedFiles:
    """The copies that a host has of files of the head's spool."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder  # made when the first file comes
        self._kept: dict[str, Path] = {}  # those that several chunks read, by digest
        self._fetching: dict[str, threading.Lock] = {}  # by digest: all lanes may ask for a file at once
        self._numbers = itertools.count(1)  # threads ask for them

    def unpack(self, job: ChunkJob, files: tuple[SentFile, ...], content: bytes) -> tuple[ChunkJob, list[Path]]:
        """The job with the paths of copies, and those to delete after it; raises MissingFile and NotEnoughSpace."""
        paths: dict[str, Path] = {}
        passing: list[Path] = []
        offset = 0
        try:
            for file in files:
                if not file.follows:
                    paths[file.name] = self._shared(file, None)
                    continue
                data = _undamaged(content[offset : offset + file.size], file)
                offset += file.size
                if file.shared:
                    paths[file.name] = self._shared(file, data)
                    continue
                paths[file.name] = copy = self._folder() / f"sent-{next(self._numbers)}"
                passing.append(copy)
                _write(copy, data)
        except BaseException:
            for copy in passing:
                copy.unlink(missing_ok=True)
            raise

        def unpacked(descriptor: ChunkDescriptor) -> ChunkDescriptor:
            update: dict[str, object] = {}
            if (copy := paths.get(descriptor.path)) is not None:
                update["path"] = str(copy)
                if (
                    descriptor.text is None
                ):  # the copy was held against its digest: from now on its status tells a change
                    update |= file_status(copy)._asdict()
            if descriptor.text is not None and (copy := paths.get(descriptor.text.records)) is not None:
                update["text"] = descriptor.text.model_copy(update={"records": str(copy)})
            return descriptor.model_copy(update=update)

        return _with_paths(job, unpacked), passing

    def _shared(self, file: SentFile, data: bytes | None) -> Path:
        """The copy of a file that several chunks read: it is kept, or made of these bytes, or fetched; raises MissingFile."""
        with self._fetching.setdefault(file.digest, threading.Lock()):
            if (kept := self._kept.get(file.digest)) is not None:
                return kept
            copy = self._folder() / f"shared-{file.digest}"
            if data is not None:
                _write(copy, data)
            elif not file.origin:
                raise MissingFile(file.name, "it was not sent yet")
            else:
                try:
                    sources.fetch_again(  # imported when it is needed, since it brings pyarrow
                        file.origin, copy, digest=file.digest, disk_free_min_bytes=settings().disk_free_min_bytes
                    )
                except (SourceError, OSError) as error:
                    raise MissingFile(file.name, str(error)) from None
            self._kept[file.digest] = copy
            return copy


def _with_paths(job: ChunkJob, changed: Callable[[ChunkDescriptor], ChunkDescriptor]) -> ChunkJob:
    descriptor = job.chunk.descriptor
    if descriptor.parts:
        new = descriptor.model_copy(update={"parts": tuple(map(changed, descriptor.parts))})
    else:
        new = changed(descriptor)
    return job if new == descriptor else replace(job, chunk=replace(job.chunk, descriptor=new))


def _undamaged(data: bytes, file: SentFile) -> bytes:
    if len(data) != file.size or xxhash.xxh3_128_hexdigest(data) != file.digest:
        raise MissingFile(file.name, "it arrived damaged")
    return data


def _write(copy: Path, data: bytes) -> None:
    require_free_space(copy.parent, settings().disk_free_min_bytes + len(data))
    try:
        copy.write_bytes(data)
    except OSError as error:
        raise NotEnoughSpace(
            f"{copy}: cannot keep what was sent ({error.strerror}); make room there, then rerun"
        ) from None


def _read(path: str, offset: int = 0, length: int = -1) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            stream.seek(offset)
            return stream.read(length)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror} while it was sent to a host; rerun") from None
