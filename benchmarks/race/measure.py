"""Run a command and measure its whole process tree: wall clock, CPU and memory, from its start to its end."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from benchmarks.memory import peak_rss_bytes

__all__ = ["Measured", "measure"]

SAMPLE_S = 0.05
_LOOK_FOR_CHILDREN_S = 0.25  # goes through all processes of the machine, so not with each sample
_SETTLED_S = 0.1
_OUTPUT_CHARS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process tree took. Seconds of CPU are user and system together, of all processes that were waited for.

    Memory is resident memory as seen from outside: the peaks of the first process (of Rowledger the supervisor) and of its
    largest child, as the kernel has marked them, and the largest sampled sum over the tree, in which pages that processes share
    count once for each of them. `exit_code` is None if the tree was killed at its deadline.
    """

    exit_code: int | None
    wall_s: float
    cpu_s: float
    rss_first_bytes: int
    rss_child_bytes: int
    rss_tree_bytes: int
    output: str


class _Sampler:
    """A thread that looks at the tree's memory until it is told to stop, and kills the tree at its deadline."""

    def __init__(self, pid: int, deadline_s: float) -> None:
        self.rss_first_bytes = 0
        self.rss_child_bytes = 0
        self.rss_tree_bytes = 0
        self.expired = False
        self._root = psutil.Process(pid)
        self._deadline = time.monotonic() + deadline_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rss-sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def kill(self) -> None:
        """End the whole tree, the youngest first."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (*reversed(self._root.children(recursive=True)), self._root):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    def _run(self) -> None:
        children: list[psutil.Process] = []
        looked = -_LOOK_FOR_CHILDREN_S
        while not self._stop.wait(SAMPLE_S):
            if time.monotonic() - looked >= _LOOK_FOR_CHILDREN_S:
                with contextlib.suppress(psutil.NoSuchProcess):
                    children = [one for one in self._root.children(recursive=True) if _is_itself(one)]
                looked = time.monotonic()
            first_bytes, sizes = _rss_bytes(self._root), [_rss_bytes(child) for child in children]
            self.rss_tree_bytes = max(self.rss_tree_bytes, first_bytes + sum(sizes))
            self.rss_first_bytes = max(self.rss_first_bytes, first_bytes, _peak_rss_bytes(self._root))
            self.rss_child_bytes = max(self.rss_child_bytes, *sizes, *map(_peak_rss_bytes, children), 0)
            if time.monotonic() > self._deadline and not self.expired:
                self.expired = True
                self.kill()


def measure(command: Sequence[str], *, environment: Mapping[str, str], log: Path, deadline_s: float) -> Measured:
    """Run it to its end, or kill it at its deadline; what it prints goes to the log, whose end is in the result."""
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        with _Sampler(process.pid, deadline_s) as sampler:
            # The kernel's own account of this child and all that it has waited for; other children of ours are not in it.
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:  # Ctrl-C
                sampler.kill()
                raise
            wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)  # so that nobody waits for it again
    return Measured(
        exit_code=None if sampler.expired else process.returncode,
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        rss_first_bytes=sampler.rss_first_bytes,
        rss_child_bytes=sampler.rss_child_bytes,
        rss_tree_bytes=sampler.rss_tree_bytes,
        output=log.read_text(errors="replace")[-_OUTPUT_CHARS_MAX:].strip(),
    )


def _is_itself(child: psutil.Process) -> bool:
    """Whether it runs a program of its own: until then a new process shows the memory of its parent."""
    with contextlib.suppress(psutil.Error):
        return time.time() - child.create_time() > _SETTLED_S
    return False


def _peak_rss_bytes(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error, OSError):
        return peak_rss_bytes(process)
    return 0


def _rss_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended
        return 0
