"""Hosts that are loopback addresses of this machine, for users who may not make namespaces: to be killed, not cut off.

What is started on such a host is told its address; that it uses it is its own affair.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

__all__ = ["LoopbackHost", "loopback_hosts"]

_REAPER = Path(__file__).with_name("reaper.py")
_FIRST_NUMBER = 11  # 127.0.0.1 is taken by much else, and Ray takes it for no address at all
_END_S = 20.0


class LoopbackHost:
    """Made by `loopback_hosts`."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self._reapers: dict[subprocess.Popen[Any], int] = {}  # with the pipe whose end tells each to kill
        self._ended: list[subprocess.Popen[Any]] = []

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        env: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401 - Popen's own
    ) -> "subprocess.Popen[Any]":
        """Start a program, with Popen's options. What is returned is its parent, which ends with its exit code."""
        reading, writing = os.pipe()
        try:
            reaper = subprocess.Popen(  # noqa: S603 - the caller's program
                [sys.executable, "-I", _REAPER, str(reading), *argv],
                env={**(os.environ if env is None else env), "ROWLEDGER_HOST_NAME": self.name},
                pass_fds=(reading,),
                **options,
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        self._reapers[reaper] = writing
        return reaper

    def pids(self) -> list[int]:
        """The processes that were started here, and all below them."""
        found: list[int] = []
        for reaper in self._reapers:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [child.pid for child in psutil.Process(reaper.pid).children(recursive=True) if _lives(child)]
        return found

    def kill_all(self) -> list[int]:
        """SIGKILL all of them, and wait until they are gone; return whom."""
        killed = self.pids()
        for writing in self._reapers.values():
            os.close(writing)
        for reaper in self._reapers:
            reaper.wait(_END_S)
        self._ended += self._reapers
        self._reapers.clear()
        return killed

    def close(self) -> None:
        """The same, and close the pipes to what was started."""
        self.kill_all()
        for reaper in self._ended:
            for stream in (reaper.stdin, reaper.stdout, reaper.stderr):
                if stream is not None:
                    stream.close()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def loopback_hosts(*names: str) -> Iterator[dict[str, LoopbackHost]]:
    """Hosts of these names. Nothing that was started on them is left when the block ends, or when its process is killed."""
    hosts = {name: LoopbackHost(name, f"127.0.0.{number}") for number, name in enumerate(names, _FIRST_NUMBER)}
    try:
        yield hosts
    finally:
        for host in hosts.values():
            host.close()
