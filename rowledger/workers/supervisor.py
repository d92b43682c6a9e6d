"""The supervisor: hands chunks to slots, and gives up loudly when too many workers die."""

import asyncio
import contextlib
import logging
from types import TracebackType
from typing import Self

from rowledger.chunk import ChunkJob
from rowledger.counted import counted
from rowledger.errors import PoolBroken, WriterClosed
from rowledger.ledger import ChunkOutcome
from rowledger.postgres import OutageGate
from rowledger.workers.handle import LogSink
from rowledger.workers.messages import Hello
from rowledger.workers.slot import Notice, Pool, Slot

__all__ = ["Supervisor"]

_Request = (
    tuple[ChunkJob, "asyncio.Future[ChunkOutcome]"] | None
)  # None: start your worker, there will be something to do


class Supervisor:
    """A pool of workers for one run: an async context manager. `hello.settings.workers` says how many.

    A worker is started when its slot gets a first chunk; for `chunks_expected` of them at once, so that they come up while the
    run still plans.
    """

    def __init__(
        self, hello: Hello, *, gate: OutageGate, notice: Notice, log: LogSink, chunks_expected: int = 0
    ) -> None:
        self._pool = Pool(hello, gate, notice, log)
        self._chunks_expected = chunks_expected
        self._requests: asyncio.Queue[_Request] = asyncio.Queue()
        self._slots: list[asyncio.Task[None]] = []
        self._closed = True

    @property
    def peak_rss_bytes(self) -> int:
        """The most resident memory any worker of this pool has had."""
        pool = self._pool
        return max([pool.peak_rss_bytes_of_ended, *(worker.peak_rss_bytes for worker in pool.workers)])

    async def __aenter__(self) -> Self:
        self._closed = False
        count = self._pool.limits.workers
        self._slots = [asyncio.create_task(self._run_slot(), name=f"slot {n}") for n in range(count)]
        for _ in range(min(count, self._chunks_expected)):
            self._requests.put_nowait(None)
        self._pool.log(logging.INFO, f"pool of {counted(count, 'worker')} open")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all workers: politely after a good run, at once when an error or a cancel is on its way."""
        self._closed = True
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        while not self._requests.empty():
            if (request := self._requests.get_nowait()) is not None:
                request[1].cancel()
        workers = list(self._pool.workers)
        ending = (worker.discard() if kind is not None else self._pool.retire(worker) for worker in workers)
        await asyncio.gather(*ending, return_exceptions=True)

    async def commit(self, job: ChunkJob) -> ChunkOutcome:
        """Have a chunk committed; raises WorkerTerminated, ChunkTimedOut, PoolBroken, DatabaseUnavailable, WriterClosed."""
        if self._closed:
            raise WriterClosed("the writer's pool is not open: use it inside its `async with` block")
        if self._pool.broken is not None:
            raise self._pool.broken
        future: asyncio.Future[ChunkOutcome] = asyncio.get_running_loop().create_future()
        self._requests.put_nowait((job, future))
        return await future

    async def _run_slot(self) -> None:
        slot = Slot(self._pool)
        while True:
            request = await self._requests.get()
            if request is None:
                with contextlib.suppress(PoolBroken):  # whoever has a chunk will be told
                    await slot.start()
                continue
            job, future = request
            if future.done():  # its load has failed or was cancelled meanwhile
                continue
            try:
                outcome = await slot.serve(job)
            except asyncio.CancelledError:
                future.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever waits for this chunk
                if not future.done():
                    future.set_exception(error)
                continue
            if not future.done():
                future.set_result(outcome)
