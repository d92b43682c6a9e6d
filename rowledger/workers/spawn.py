"""Start the processes of workers and producers, which are plain subprocesses.

A process takes longer to come up than a run to begin. So a run starts its first processes before it imports what it needs
itself, and nothing is imported here that would delay them.
"""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from rowledger.private_names import pydantic_has_no_plugins
from rowledger.settings import child_environment

__all__ = ["PRODUCER", "WORKER", "EarlyProcesses", "Spawned", "spawn"]

WORKER = "rowledger.workers.process"
PRODUCER = "rowledger.workers.producer_process"
# pyarrow's own allocator would keep what a chunk has freed beside what the C library keeps, and save no time.
# A chunk's encoded rows are freed and allocated again for the next chunk. By default glibc returns the pages to the
# kernel each time, and a worker spends a tenth of its time faulting them in. Other C libraries ignore these
# variables.
_MALLOC = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
}
_END_S = 5.0  # a killed process is gone at once, unless the kernel is stuck in it


@dataclass(frozen=True, slots=True)
class Spawned:
    """A started process, which waits for its first message on the other end of `channel`."""

    process: subprocess.Popen[bytes]
    channel: socket.socket

    def end(self) -> None:
        """Kill the process, and leave nothing of it."""
        self.channel.close()
        assert self.process.stdout is not None  # noqa: S101 - opened as a pipe below
        self.process.stdout.close()
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_S)


def spawn(module: str) -> Spawned:
    """Start a process that runs the module: a new one, not a fork, which polars and asyncpg do not survive.

    Raises OSError where the machine lacks a descriptor, a process or memory.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own modules
                [
                    sys.executable,
                    "-P",  # it imports from the current folder only where this process does so
                    "-m",
                    module,
                    str(theirs.fileno()),
                    str(os.getpid()),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                env=child_environment(POLARS_MAX_THREADS="1", OMP_NUM_THREADS="1", **_MALLOC, **_spared_search()),
            )
        except BaseException:
            ours.close()
            raise
    return Spawned(process, ours)


class EarlyProcesses:
    """Processes that come up while the run begins, as a context manager: those that were not taken end with it."""

    def __init__(self, modules: Sequence[str] = ()) -> None:
        self._modules = modules
        self._waiting: dict[str, list[Spawned]] = {}

    def __enter__(self) -> Self:
        try:
            for module in self._modules:
                self._waiting.setdefault(module, []).append(spawn(module))
        except OSError:
            pass  # the pool says so when it needs one
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for waiting in self._waiting.values():
            while waiting:
                waiting.pop().end()

    def take(self, module: str) -> Spawned | None:
        """One of these processes, which from now on is the caller's; None when there is none of this module."""
        waiting = self._waiting.get(module)
        return waiting.pop(0) if waiting else None


def _spared_search() -> dict[str, str]:
    """Spare the process Pydantic's search for plugins in all installed packages, where this process has found none."""
    return {"PYDANTIC_DISABLE_PLUGINS": "1"} if pydantic_has_no_plugins() else {}
