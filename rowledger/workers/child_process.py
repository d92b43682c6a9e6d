"""The supervisor's side of a child process: its start, its channel, what it prints, its memory, its end.

Workers and producers are such processes. Their handles add what they are asked and what they answer.
"""

import asyncio
import collections
import contextlib
import logging
import os
import select
import signal
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import psutil
from pydantic import BaseModel

from rowledger.ledger import IncidentKind
from rowledger.machine import read_oom_kills
from rowledger.postgres import SessionIdentity
from rowledger.private_names import pydantic_has_no_plugins
from rowledger.settings import WriterSettings, child_environment
from rowledger.workers.guards import classify_exit
from rowledger.workers.messages import LINE_BYTES_MAX, encode

__all__ = ["WATCH_INTERVAL_S", "ChildDied", "ChildProcess", "LogSink"]

LogSink = Callable[[int, str], None]

WATCH_INTERVAL_S = 0.1
_STDERR_LINES_KEPT = 40
# A chunk's encoded rows are freed and allocated again for the next chunk. By default glibc returns the pages to the
# kernel each time, and a worker spends a tenth of its time faulting them in. Other C libraries ignore these
# variables.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(64 * 2**20), "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20)}
_LAST_WORDS_S = 1.0  # to read what a dead process has left in its pipes
_DRAIN_POLL_S = 0.02
_PRINTED_LINE_BYTES_MAX = 2**16


class _ExitHeard(asyncio.subprocess.SubprocessStreamProtocol):
    """Reports the process's exit when it happens.

    In Python 3.11 and 3.12 `Process.wait` also waits for the end of its pipes, which a descendant may hold for hours.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(limit=_PRINTED_LINE_BYTES_MAX, loop=loop)
        self.exit_code: asyncio.Future[int] = loop.create_future()
        self.subprocess: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)  # noqa: S101 - of a subprocess
        self.subprocess = transport
        super().connection_made(transport)

    def process_exited(self) -> None:
        assert self.subprocess is not None  # noqa: S101 - made before it exits
        if not self.exit_code.done() and (code := self.subprocess.get_returncode()) is not None:
            self.exit_code.set_result(code)
        super().process_exited()


class ChildDied(Exception):
    """A child process ended without an answer, or was too slow for it."""

    def __init__(self, kind: IncidentKind, exit_code: int | None, summary: str, stderr_tail: str, *, pid: int) -> None:
        super().__init__(summary)
        self.kind = kind
        self.pid = pid
        self.exit_code = exit_code
        self.summary = summary
        self.stderr_tail = stderr_tail


class ChildProcess(ABC):
    """A running child process with a channel for messages. `start` makes it."""

    module: ClassVar[str]
    """The module that the process runs."""
    role: ClassVar[str]
    """What the log calls the process."""

    def __init__(
        self,
        transport: asyncio.SubprocessTransport,
        process: _ExitHeard,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limits: WriterSettings,
        log: LogSink,
    ) -> None:
        self._transport = transport
        self._process = process
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._log = log
        self._stderr: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES_KEPT)
        self._oom_kills_at_start = read_oom_kills()
        self._forced: tuple[IncidentKind, str] | None = None  # the limit it was killed for
        self._has_come_up = False
        self.rss_bytes = 0
        self.peak_rss_bytes = 0
        self.session: SessionIdentity | None = None
        self._exited = process.exit_code
        self._listeners = [asyncio.create_task(self._listen()), asyncio.create_task(self._relay_stderr())]

    @classmethod
    async def start(cls, hello: BaseModel, limits: WriterSettings, log: LogSink) -> Self:
        """Start a new process, not a fork: polars and asyncpg do not survive a fork."""
        ours, theirs = socket.socketpair()
        with theirs:
            # The channel comes first: nothing may await between the process's start and its handle, or a cancel would
            # orphan it.
            reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES_MAX)
            try:
                transport, process = await asyncio.get_running_loop().subprocess_exec(
                    _ExitHeard,
                    sys.executable,
                    "-P",  # it imports from the current folder only where this process does so
                    "-m",
                    cls.module,
                    str(theirs.fileno()),
                    str(os.getpid()),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    env=child_environment(POLARS_MAX_THREADS="1", OMP_NUM_THREADS="1", **_MALLOC, **_spared_search()),
                )
            except BaseException:
                writer.close()
                raise
        child = cls(transport, process, reader, writer, limits, log)
        child.send(hello)
        return child

    @property
    def pid(self) -> int:
        return self._transport.get_pid()

    @property
    def is_running(self) -> bool:
        return not self._exited.done()

    def send(self, message: BaseModel) -> None:
        self._writer.write(encode(message))

    def death(self) -> ChildDied:
        """The classified end of a process that has exited, or was killed for a limit."""
        forced = self._forced
        # Stuck in the kernel, or frozen; its backend is terminated, so it writes nothing any more.
        if not self._exited.done():
            kind, why = forced or (IncidentKind.STALL, "it does not end")
            stuck = f"{why}; it was sent SIGKILL and has not ended within {self._limits.close_timeout_s:g} s"
            return ChildDied(kind, None, stuck, "\n".join(self._stderr), pid=self.pid)
        exit_code = self._exited.result()
        oom_kills = read_oom_kills()
        oom_killed = oom_kills is not None and oom_kills > (self._oom_kills_at_start or 0)
        kind, summary = forced or classify_exit(exit_code, ever_alive=self._has_come_up, oom_killed=oom_killed)
        return ChildDied(kind, exit_code, summary, "\n".join(self._stderr), pid=self.pid)

    async def stop(self) -> ChildDied | None:
        """Ask the process to end, and kill it after its time. Returns its death if it died of another cause."""
        if self.is_running:
            self._ask_to_end()
            await asyncio.wait({self._exited}, timeout=self._limits.close_timeout_s)
        ended_by_itself = self._exited.done()
        await self.discard()
        return self.death() if ended_by_itself and self._exited.result() != 0 else None

    async def discard(self) -> None:
        """End the process at once, with all tasks that listen to it."""
        self.kill()
        await asyncio.wait({self._exited}, timeout=self._limits.close_timeout_s)
        await self._hear_out()
        for listener in self._listeners:
            listener.cancel()
        self._writer.close()
        if self.is_running:  # no task waits for it any more; its later end need not be reported
            self._transport.get_extra_info("subprocess").returncode = -signal.SIGKILL
        self._transport.close()

    def kill(self) -> None:
        """Send SIGKILL, which also ends a stopped process and needs no cooperation."""
        if self.is_running:
            # Not Process.kill: it polls first, which takes a dying child's exit code away from `_exited`.
            with contextlib.suppress(ProcessLookupError):  # it ended by itself in between; `_exited` reports it
                os.kill(self.pid, signal.SIGKILL)

    def look_at_memory(self) -> None:
        """Measured by the supervisor, because a process that is busy allocating memory may send nothing."""
        with contextlib.suppress(psutil.Error):
            self.rss_bytes = psutil.Process(self.pid).memory_info().rss
            self.peak_rss_bytes = max(self.peak_rss_bytes, self.rss_bytes)

    @abstractmethod
    def _ask_to_end(self) -> None:
        """Send the message after which the process ends by itself."""

    @abstractmethod
    def _take(self, line: bytes) -> None:
        """Process one message; raises ValueError for one that cannot be read."""

    @property
    @abstractmethod
    def _work(self) -> str | None:
        """The name of what the process works on."""

    async def _hear_last_words(self) -> None:
        """Read what an ended or killed process has still sent: an answer sent before the death still counts."""
        await asyncio.wait({self._exited}, timeout=self._limits.close_timeout_s)
        await self._hear_out()

    async def _hear_out(self) -> None:
        """Read what a dead process has left in its pipes.

        Reads to their end, or until they are empty while a descendant holds them.
        """
        give_up_at = asyncio.get_running_loop().time() + _LAST_WORDS_S
        was_empty = False  # at the previous look: what was read since then is processed by now
        while asyncio.get_running_loop().time() < give_up_at:
            _, listening = await asyncio.wait(self._listeners, timeout=_DRAIN_POLL_S)
            is_empty = self._exited.done() and not select.select(self._open_pipes(), [], [], 0)[0]
            if not listening or (is_empty and was_empty):
                return
            was_empty = is_empty

    def _open_pipes(self) -> list[Any]:
        """The pipes that still have a listener."""
        printed = self._transport.get_pipe_transport(1)
        ends = [(self._writer.transport, "socket"), (printed, "pipe")]
        return [
            end.get_extra_info(kind)
            for listener, (end, kind) in zip(self._listeners, ends, strict=True)
            if end is not None and not listener.done() and not end.is_closing()
        ]

    async def _listen(self) -> None:
        """Process messages until the channel ends."""
        try:
            while (line := await self._reader.readline()).endswith(b"\n"):
                self._take(line)
        except ConnectionError:  # the process has ended without reading all; its exit says why
            self.kill()
        except ValueError as error:  # a ValidationError, or an overlong line
            self._log(logging.ERROR, f"{self.role} {self.pid}: unreadable message ({type(error).__name__}); ending it")
            self.kill()

    async def _relay_stderr(self) -> None:
        """Relay what the process prints to the run's log, and keep its last lines for the incident."""
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 - opened as a pipe above
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line beyond the stream's limit, which asyncio has dropped
                line = b"(an overlong line)\n"
            if not line:
                return
            # The ledger accepts no NUL.
            text = line.decode(errors="replace").rstrip().replace("\0", "\N{SYMBOL FOR NULL}")
            self._stderr.append(text)
            self._log(logging.WARNING, f"{self._origin} printed: {text}")

    @property
    def _origin(self) -> str:
        return f"{self.role} {self.pid}" if self._work is None else f"{self.role} {self.pid}, {self._work}"


def _spared_search() -> dict[str, str]:
    """Spare the process Pydantic's search for plugins in all installed packages, where this process has found none."""
    return {"PYDANTIC_DISABLE_PLUGINS": "1"} if pydantic_has_no_plugins() else {}
