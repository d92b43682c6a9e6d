"""The folder for files that are written in order to be loaded."""

from pathlib import Path

from rowledger.machine import require_free_space
from rowledger.settings import settings

__all__ = ["landing_folder"]


def landing_folder(name: str) -> Path:
    """The folder that a source's path names as `{landing}/name`. It may not exist yet.

    Raises NotEnoughSpace where its disk has less free space than ROWLEDGER_DISK_FREE_MIN_BYTES.
    """
    folder = settings().landing_dir / name
    require_free_space(folder, settings().disk_free_min_bytes)
    return folder
