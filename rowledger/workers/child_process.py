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
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import psutil
from pydantic import BaseModel

from rowledger.ledger import IncidentKind
from rowledger.machine import read_oom_kills
from rowledger.postgres import SessionIdentity
from rowledger.settings import WriterSettings
from rowledger.workers.guards import classify_exit
from rowledger.workers.messages import LINE_BYTES_MAX, encode
from rowledger.workers.spawn import Spawned, spawn

__all__ = ["WATCH_INTERVAL_S", "ChildDied", "ChildProcess", "LogSink"]

LogSink = Callable[[int, str], None]

WATCH_INTERVAL_S = 0.1
_STDERR_LINES_KEPT = 40
_LAST_WORDS_S = 1.0  # to read what a dead process has left in its pipes
_DRAIN_POLL_S = 0.02
_PRINTED_LINE_BYTES_MAX = 2**16


class _Exit:
    """The end of a process, as the event loop hears of it, whatever its descendants still hold open."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._loop = asyncio.get_running_loop()
        self.code: asyncio.Future[int] = self._loop.create_future()
        self._descriptor: int | None = None
        try:
            self._descriptor = os.pidfd_open(process.pid)
        except (AttributeError, OSError):  # not Linux, an old kernel, or no descriptor left
            threading.Thread(target=self._wait, name=f"end of {process.pid}", daemon=True).start()
        else:
            self._loop.add_reader(self._descriptor, self._ended)

    def forget(self) -> None:
        """Hear of it no more. A process that is still there then is stuck in the kernel, and need not be reported."""
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
        if self._process.returncode is None:
            self._process.returncode = -signal.SIGKILL

    def _ended(self) -> None:
        code = self._process.wait()
        self.forget()
        if not self.code.done():
            self.code.set_result(code)

    def _wait(self) -> None:
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._ended)


class ChildDied(Exception):
    """A child process ended without an answer, or was too slow for it."""

    def __init__(self, kind: IncidentKind, exit_code: int | None, summary: str, stderr_tail: str, *, pid: int) -> None:
        super().__init__(summary)
        self.kind = kind
        self.pid = pid
        self.exit_code = exit_code
        self.summary = summary
        self.stderr_tail = stderr_tail


@dataclass(frozen=True, slots=True)
class _Started:
    """A process with its channel and its output, as the event loop reads them."""

    process: subprocess.Popen[bytes]
    exit: _Exit
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    printed: asyncio.StreamReader
    printed_pipe: asyncio.ReadTransport

    @classmethod
    async def of(cls, spawned: Spawned) -> Self:
        """Connect the loop to the process. A cancel meanwhile ends it."""
        loop = asyncio.get_running_loop()
        try:
            reader, writer = await asyncio.open_connection(sock=spawned.channel, limit=LINE_BYTES_MAX)
            printed = asyncio.StreamReader(limit=_PRINTED_LINE_BYTES_MAX, loop=loop)
            pipe, _ = await loop.connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(printed, loop=loop), spawned.process.stdout
            )
            return cls(spawned.process, _Exit(spawned.process), reader, writer, printed, pipe)
        except BaseException:
            spawned.end()
            raise


class ChildProcess(ABC):
    """A running child process with a channel for messages. `start` makes it."""

    module: ClassVar[str]
    """The module that the process runs."""
    role: ClassVar[str]
    """What the log calls the process."""

    def __init__(self, started: "_Started", limits: WriterSettings, log: LogSink) -> None:
        self._process = started.process
        self._exit = started.exit
        self._reader = started.reader
        self._writer = started.writer
        self._printed = started.printed
        self._printed_pipe = started.printed_pipe
        self._limits = limits
        self._log = log
        self._stderr: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES_KEPT)
        self._oom_kills_at_start = read_oom_kills()
        self._forced: tuple[IncidentKind, str] | None = None  # the limit it was killed for
        self._has_come_up = False
        self.rss_bytes = 0
        self.peak_rss_bytes = 0
        self.session: SessionIdentity | None = None
        self._exited = self._exit.code
        self._listeners = [asyncio.create_task(self._listen()), asyncio.create_task(self._relay_stderr())]

    @classmethod
    async def start(cls, hello: BaseModel, limits: WriterSettings, log: LogSink, early: Spawned | None = None) -> Self:
        """Take charge of a process that was started early, or start one."""
        child = cls(await _Started.of(spawn(cls.module) if early is None else early), limits, log)
        child.send(hello)
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

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
        self._printed_pipe.close()
        self._exit.forget()

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
        ends = [(self._writer.transport, "socket"), (self._printed_pipe, "pipe")]
        return [
            end.get_extra_info(kind)
            for listener, (end, kind) in zip(self._listeners, ends, strict=True)
            if not listener.done() and not end.is_closing()
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
        while True:
            try:
                line = await self._printed.readline()
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
