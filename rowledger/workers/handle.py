"""The supervisor's side of one worker: its process, its channel, its last signs of life."""

import asyncio
import collections
import contextlib
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Self

import psutil

from rowledger.chunk import Job
from rowledger.ledger import ChunkOutcome, IncidentKind
from rowledger.machine import read_oom_kills
from rowledger.postgres import SessionIdentity
from rowledger.private_names import pydantic_has_no_plugins
from rowledger.settings import WriterSettings, child_environment
from rowledger.workers.guards import Vitals, classify_exit, overrun, replacement_due
from rowledger.workers.messages import (
    LINE_BYTES_MAX,
    Assign,
    FromWorker,
    Heartbeat,
    Hello,
    LogLine,
    Outcome,
    Ready,
    Stop,
    decode_from_worker,
    encode,
)

__all__ = ["LogSink", "WorkerDied", "WorkerHandle"]

LogSink = Callable[[int, str], None]

_STDERR_LINES_KEPT = 40
# A chunk's encoded rows are freed and allocated again for the next chunk. By default glibc returns the pages to the
# kernel each time, and a worker spends a tenth of its time faulting them in. Other C libraries ignore these
# variables.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(64 * 2**20), "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20)}
_WATCH_INTERVAL_S = 0.1
_LATE_S = 1.0  # a look that is late by more than this counts as missed
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


class WorkerDied(Exception):
    """A worker ended without an outcome for its chunk, or was too slow for it."""

    def __init__(self, kind: IncidentKind, exit_code: int | None, summary: str, stderr_tail: str) -> None:
        super().__init__(summary)
        self.kind = kind
        self.exit_code = exit_code
        self.summary = summary
        self.stderr_tail = stderr_tail


class WorkerHandle:
    """A running worker. `start` makes it, and one slot at a time uses it."""

    def __init__(
        self,
        transport: asyncio.SubprocessTransport,
        process: _ExitHeard,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limits: WriterSettings,
        log: LogSink,
    ) -> None:
        now = time.monotonic()
        self._transport = transport
        self._process = process
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._log = log
        self._vitals = Vitals(chunk_started_at=now, progressed_at=now)
        self._stderr: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES_KEPT)
        self._oom_kills_at_start = read_oom_kills()
        self._job: Job | None = None
        self._outcome: asyncio.Future[ChunkOutcome] | None = None
        self._forced: tuple[IncidentKind, str] | None = None  # the limit it was killed for
        self.peak_rss_bytes = 0
        self.session: SessionIdentity | None = None
        self._exited = process.exit_code
        self._listeners = [asyncio.create_task(self._listen()), asyncio.create_task(self._relay_stderr())]

    @classmethod
    async def start(cls, hello: Hello, log: LogSink) -> Self:
        """Start a worker as a new process, not a fork: polars and asyncpg do not survive a fork."""
        ours, theirs = socket.socketpair()
        with theirs:
            # The channel comes first: nothing may await between the process's start and its handle, or a cancel would
            # orphan it.
            reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES_MAX)
            try:
                transport, process = await asyncio.get_running_loop().subprocess_exec(
                    _ExitHeard,
                    sys.executable,
                    "-P",  # a worker imports from the current folder only where this process does so
                    "-m",
                    "rowledger.workers.process",
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
        worker = cls(transport, process, reader, writer, hello.settings, log)
        writer.write(encode(hello))
        return worker

    @property
    def pid(self) -> int:
        return self._transport.get_pid()

    @property
    def is_running(self) -> bool:
        return not self._exited.done()

    @property
    def replacement_due(self) -> tuple[IncidentKind, str] | None:
        """Why this worker should be replaced now that its chunk is done; None when it may continue."""
        return replacement_due(self._vitals, self._limits)

    async def attempt(self, job: Job) -> ChunkOutcome:
        """Have the worker make one attempt; raises WorkerDied when it ends, or must be ended, without an outcome."""
        now = time.monotonic()
        self._vitals.chunk_started_at = self._vitals.progressed_at = now
        self._job = job
        self._outcome = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(encode(Assign(job=job)))
            awaited: set[asyncio.Future[Any]] = {self._outcome, self._exited}
            while True:
                asleep_at = time.monotonic()
                await asyncio.wait(awaited, timeout=_WATCH_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
                self._excuse(time.monotonic() - asleep_at)
                if self._outcome.done():
                    return self._outcome.result()
                if self._exited.done():
                    return await self._last_words()
                self._look_at_memory()
                if forced := overrun(self._vitals, self._limits, time.monotonic()):
                    self._forced = forced
                    self.kill()
                    return await self._last_words()
        finally:
            self._job = self._outcome = None

    def death(self) -> WorkerDied:
        """The classified end of a worker that has exited, or was killed for a limit."""
        forced = self._forced
        # Stuck in the kernel, or frozen; its backend is terminated, so it writes nothing any more.
        if not self._exited.done():
            kind, why = forced or (IncidentKind.STALL, "it does not end")
            stuck = f"{why}; it was sent SIGKILL and has not ended within {self._limits.close_timeout_s:g} s"
            return WorkerDied(kind, None, stuck, "\n".join(self._stderr))
        exit_code = self._exited.result()
        oom_kills = read_oom_kills()
        oom_killed = oom_kills is not None and oom_kills > (self._oom_kills_at_start or 0)
        kind, summary = forced or classify_exit(
            exit_code, ever_alive=self._vitals.heartbeats > 0, oom_killed=oom_killed
        )
        return WorkerDied(kind, exit_code, summary, "\n".join(self._stderr))

    async def stop(self) -> WorkerDied | None:
        """Ask the worker to end, and kill it after its time. Returns its death if it died of another cause."""
        if self.is_running:
            self._writer.write(encode(Stop()))
            await asyncio.wait({self._exited}, timeout=self._limits.close_timeout_s)
        ended_by_itself = self._exited.done()
        await self.discard()
        return self.death() if ended_by_itself and self._exited.result() != 0 else None

    async def discard(self) -> None:
        """End the worker at once, with all tasks that listen to it."""
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

    def _excuse(self, slept_s: float) -> None:
        """Do not count time in which this process was stopped or starved: it has not read the heartbeats either."""
        if (missed_s := slept_s - _WATCH_INTERVAL_S) > _LATE_S:
            self._vitals.chunk_started_at += missed_s
            self._vitals.progressed_at += missed_s

    def _look_at_memory(self) -> None:
        """Measured by the supervisor, because a worker that is busy allocating memory may send no heartbeat."""
        with contextlib.suppress(psutil.Error):
            self._vitals.rss_bytes = psutil.Process(self.pid).memory_info().rss
            self.peak_rss_bytes = max(self.peak_rss_bytes, self._vitals.rss_bytes)

    async def _last_words(self) -> ChunkOutcome:
        """Read the channel to its end before calling a worker dead: an outcome sent before the death still counts."""
        await asyncio.wait({self._exited}, timeout=self._limits.close_timeout_s)
        await self._hear_out()
        if self._outcome is not None and self._outcome.done():
            return self._outcome.result()
        raise self.death()

    async def _hear_out(self) -> None:
        """Read what a dead process has left in its pipes.

        Reads to their end, or until they are empty while a descendant holds them.
        """
        give_up_at = time.monotonic() + _LAST_WORDS_S
        was_empty = False  # at the previous look: what was read since then is processed by now
        while time.monotonic() < give_up_at:
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
                self._take(decode_from_worker(line))
        except ConnectionError:  # the worker has ended without reading all; its exit says why
            self.kill()
        except ValueError as error:  # a ValidationError, or an overlong line
            self._log(logging.ERROR, f"worker {self.pid}: unreadable message ({type(error).__name__}); ending it")
            self.kill()

    def _take(self, message: FromWorker) -> None:
        match message:
            case Heartbeat():
                vitals = self._vitals
                if vitals.heartbeats == 0:  # the start of a worker is progress too
                    vitals.progressed_at = time.monotonic()
                vitals.heartbeats += 1
                vitals.rss_bytes, vitals.descriptors = message.rss_bytes, message.descriptors
                self.peak_rss_bytes = max(self.peak_rss_bytes, message.rss_bytes)
                if message.progress > vitals.progress:
                    vitals.progress = message.progress
                    vitals.progressed_at = time.monotonic()
            case Ready():
                self.session = SessionIdentity(message.backend_pid, message.backend_start)
            case LogLine():
                self._log(message.level, f"{self._origin}: {message.text}")
            case Outcome():
                if self._outcome is not None and not self._outcome.done():
                    self._outcome.set_result(message.outcome)

    async def _relay_stderr(self) -> None:
        """Relay what the worker prints to the run's log, and keep its last lines for the incident."""
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
        if self._job is None:
            return f"worker {self.pid}"
        return f"worker {self.pid}, {self._job.name}"


def _spared_search() -> dict[str, str]:
    """Spare the worker Pydantic's search for plugins in all installed packages, where this process has found none."""
    return {"PYDANTIC_DISABLE_PLUGINS": "1"} if pydantic_has_no_plugins() else {}
