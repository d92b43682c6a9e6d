"""The supervisor's side of one producer: the partition it reads the source of, and the guards over it."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from rowledger.ledger import SourceRaised
from rowledger.workers.child_process import WATCH_INTERVAL_S, ChildProcess
from rowledger.workers.guards import producer_overrun
from rowledger.workers.messages import LogLine
from rowledger.workers.production import (
    CHUNKS_AHEAD_MAX,
    Cancel,
    End,
    Ended,
    Produce,
    Produced,
    Production,
    Taken,
    Up,
    decode_from_producer,
)
from rowledger.workers.source_errors import source_error
from rowledger.workers.spawn import PRODUCER

__all__ = ["ProducerHandle"]

_Answer = Produced | Ended | SourceRaised


class ProducerHandle(ChildProcess):
    """A running producer. It reads one partition's source at a time."""

    module: ClassVar[str] = PRODUCER
    role: ClassVar[str] = "producer"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - those of ChildProcess
        super().__init__(*arguments)
        self._production: Production | None = None
        self._is_open = False
        self._answers: asyncio.Queue[_Answer] = asyncio.Queue()
        self._waiting_since = time.monotonic()
        self._chunks_ahead = 0

    @contextlib.asynccontextmanager
    async def producing(self, work: Production) -> AsyncIterator[AsyncIterator[Produced]]:
        """Yield the source's chunks. Reading them raises what the source raises, and ChildDied when the producer ends early.

        When the block ends before the source, the source is closed after its current chunk, or the process is killed after
        `close_timeout_s`.
        """
        self._production, self._is_open, self._chunks_ahead = work, True, 0
        self._waiting_since = time.monotonic()
        self.send(Produce(work=work))
        guarding = asyncio.create_task(self._guard())
        try:
            yield self._chunks()
        finally:
            guarding.cancel()
            if self._is_open and self.is_running:
                await self._close_source()
            self._production = None

    @property
    def is_over_soft_limit(self) -> bool:
        return self.rss_bytes > self._limits.rss_soft_limit_bytes

    async def _chunks(self) -> AsyncIterator[Produced]:
        while True:
            match await self._answer():
                case Produced() as produced:
                    self._chunks_ahead -= 1
                    if self.is_running:
                        self.send(Taken())
                    yield produced
                case SourceRaised() as raised:
                    self._is_open = False
                    raise source_error(raised)
                case Ended():
                    self._is_open = False
                    return

    async def _answer(self) -> _Answer:
        """The next answer; raises ChildDied when the process ends without one."""
        answer = await self._answer_or_exit()
        if answer is None:
            await self._hear_last_words()
            answer = None if self._answers.empty() else self._answers.get_nowait()
        if answer is None:
            raise self.death()
        return answer

    async def _answer_or_exit(self) -> _Answer | None:
        """The next answer; None when the process has ended before."""
        getting = asyncio.create_task(self._answers.get())
        try:
            awaited: set[asyncio.Future[Any]] = {getting, self._exited}
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            return getting.result() if getting.done() else None
        finally:
            getting.cancel()

    async def _guard(self) -> None:
        """Kill the process when it takes too much memory, or gives no chunk for too long."""
        limits = self._limits
        while self.is_running:
            asleep_at = time.monotonic()
            await asyncio.wait({self._exited}, timeout=WATCH_INTERVAL_S)
            now = time.monotonic()
            if self._chunks_ahead >= CHUNKS_AHEAD_MAX:  # it waits for the supervisor
                self._waiting_since = now
            self._waiting_since += max(0, now - asleep_at - 2 * WATCH_INTERVAL_S)  # this process was stopped or starved
            self.look_at_memory()
            forced = producer_overrun(limits, self.rss_bytes, now - self._waiting_since, has_come_up=self._has_come_up)
            if forced is not None:
                self._forced = forced
                self.kill()
                return

    async def _close_source(self) -> None:
        self.send(Cancel())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.close_timeout_s):
                while isinstance(await self._answer_or_exit(), Produced):
                    pass
                return
        self._log(
            logging.WARNING, f"{self._origin}: does not close within {self._limits.close_timeout_s:g} s; ending it"
        )
        self.kill()
        await asyncio.wait({self._exited}, timeout=self._limits.close_timeout_s)

    def _ask_to_end(self) -> None:
        self.send(End())

    def _take(self, line: bytes) -> None:
        match decode_from_producer(line):
            case Up():
                self._has_come_up = True
                self._waiting_since = time.monotonic()
            case LogLine() as said:
                self._log(said.level, f"{self._origin}: {said.text}")
            case Produced() as produced:
                self._chunks_ahead += 1
                self._waiting_since = time.monotonic()
                self._answers.put_nowait(produced)
            case answer:
                self._answers.put_nowait(answer)

    @property
    def _work(self) -> str | None:
        return self._production.name if self._production else None
