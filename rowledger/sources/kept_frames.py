"""Frames of source rows that are kept in files until their partition is loaded, which reads them once."""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from rowledger.errors import NotEnoughSpace, SourceError
from rowledger.machine import require_free_space

__all__ = ["KeptFrames"]


class KeptFrames:
    """The frames of one partition, in order, in a folder that belongs to the run. Reserved columns are kept too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[Path] = []

    def add(self, frames: Sequence[pl.DataFrame], *, disk_free_min_bytes: int) -> None:
        """Write the frames; raises NotEnoughSpace and SourceError."""
        size = int(sum(frame.estimated_size() for frame in frames))
        require_free_space(self._folder, disk_free_min_bytes + size)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for frame in _joined(frames):
                file = self._folder / f"{len(self._files):08}.arrow"
                frame.write_ipc(file)
                self._files.append(file)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise NotEnoughSpace(
                    f"{self._folder}: {error.strerror} while keeping {size:,} bytes of rows; make room on that disk and rerun"
                ) from None
            raise SourceError(
                f"{self._folder}: {error.strerror} while keeping rows; fix that folder and rerun"
            ) from None

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the frames, and delete each file once its frame was taken."""
        for file in self._files:
            yield pl.read_ipc(file)
            file.unlink()


def _joined(frames: Sequence[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The rows in as few frames as their columns allow."""
    alike: list[pl.DataFrame] = []
    for frame in frames:
        if alike and frame.schema != alike[0].schema:
            yield pl.concat(alike)
            alike = []
        alike.append(frame)
    if alike:
        yield pl.concat(alike)
