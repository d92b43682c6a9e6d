"""The folder for files that are written so that tables can be loaded from them."""

from pathlib import Path

from rowledger.machine import require_free_space
from rowledger.settings import settings

__all__ = ["landing_folder"]


def landing_folder(name: str) -> Path:
    """The folder that `{landing}/name` is in a source's path; it may have to be made.

    Raises NotEnoughSpace where its disk has less room than ROWLEDGER_DISK_FREE_MIN_BYTES.
    """
    folder = settings().landing_dir / name
    require_free_space(folder, settings().disk_free_min_bytes)
    return folder
