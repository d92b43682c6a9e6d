"""The memory of a process, seen from inside or outside."""

from pathlib import Path

import psutil

__all__ = ["peak_rss_bytes"]


def peak_rss_bytes(process: psutil.Process) -> int:
    """The most resident memory the process has had so far; what it has now where the system keeps no such mark.

    Raises psutil.Error, or OSError, when the process has ended.
    """
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(process.memory_info().rss)
