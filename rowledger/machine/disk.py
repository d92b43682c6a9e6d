"""The guard of the local disk: what cannot be written whole is better not begun."""

import shutil
from pathlib import Path

from rowledger.errors import NotEnoughSpace

__all__ = ["require_free_space"]


def require_free_space(folder: Path, needed_bytes: int) -> None:
    """Raise NotEnoughSpace unless the disk of the folder, which need not exist yet, has so many bytes left."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        raise NotEnoughSpace(
            f"the disk of {folder} has {free_bytes:,} bytes left, {needed_bytes:,} are wanted free; make room, or lower "
            "ROWLEDGER_DISK_FREE_MIN_BYTES"
        )
