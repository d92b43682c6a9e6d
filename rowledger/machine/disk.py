"""The check for free space on the local disk: a write that cannot be completed is not started."""

import shutil
from pathlib import Path

from rowledger.errors import NotEnoughSpace

__all__ = ["require_free_space"]


def require_free_space(folder: Path, needed_bytes: int) -> None:
    """Raise NotEnoughSpace unless the folder's disk has this many bytes free. The folder need not exist yet."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        raise NotEnoughSpace(
            f"the disk of {folder} has {free_bytes:,} bytes left, {needed_bytes:,} are wanted free; make room, or lower "
            "ROWLEDGER_DISK_FREE_MIN_BYTES"
        )
