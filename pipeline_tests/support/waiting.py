"""Wait for events, and for worker processes to come and go."""

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil


def wait_until(condition: Callable[[], Any], what: str, *, timeout_s: float = 60.0) -> Any:
    """Poll until the condition gives something true, and return that."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)
    return found


def worker_pids(parent: int | None = None) -> list[int]:
    """The worker processes under a process, ours if none is given."""
    return [child.pid for child in _children(parent) if is_worker(child)]


def producer_pids(parent: int | None = None) -> list[int]:
    """The processes under a process, ours if none is given, that read sources."""
    return [child.pid for child in _children(parent) if _runs(child, "rowledger.workers.producer_process")]


def _children(parent: int | None) -> list[psutil.Process]:
    try:
        return psutil.Process(parent).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def is_worker(process: psutil.Process) -> bool:
    return _runs(process, "rowledger.workers.process")


def _runs(process: psutil.Process, module: str) -> bool:
    try:
        return module in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def is_stopped(pid: int) -> bool:
    """Whether a SIGSTOP holds the process."""
    with suppress(psutil.Error):
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    return False


def stopped_workers(process: subprocess.Popen[str]) -> list[int]:
    """The workers of a run that a SIGSTOP holds."""
    return [pid for pid in worker_pids(process.pid) if is_stopped(pid)]
