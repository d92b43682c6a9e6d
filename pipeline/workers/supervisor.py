"""The supervisor: hands chunks to workers, sees every death, replaces the dead, and gives up loudly.

A slot is one place in the pool. It serves one chunk at a time and owns at most one worker; when that dies, the slot buries
it, starts another and goes on with the same chunk. So a chunk is never lost between a dead worker and a queue.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from pipeline.chunk_transaction import ChunkJob
from pipeline.errors import ChunkFailed, PoolBroken, WriterClosed
from pipeline.model.outcome import ChunkOutcome
from pipeline.model.report import Incident
from pipeline.postgres.session import SessionIdentity
from pipeline.settings import WriterSettings
from pipeline.workers.guards import default_workers
from pipeline.workers.handle import LogSink, WorkerDied, WorkerHandle
from pipeline.workers.messages import Hello

__all__ = ["BuryWorker", "Supervisor"]

BuryWorker = Callable[[Incident, ChunkJob | None, SessionIdentity | None], Awaitable[None]]
"""Called for each death before the chunk is tried again: record it, and end what the worker left on the server."""

_Request = tuple[ChunkJob, "asyncio.Future[ChunkOutcome]"]


class Supervisor:
    """A pool of workers for one run: an async context manager."""

    def __init__(self, hello: Hello, *, bury: BuryWorker, log: LogSink) -> None:
        self._hello = hello
        self._limits: WriterSettings = hello.settings
        self._bury = bury
        self._log = log
        self._requests: asyncio.Queue[_Request] = asyncio.Queue()
        self._slots: list[asyncio.Task[None]] = []
        self._workers: set[WorkerHandle] = set()
        self._deaths = 0
        self._broken: PoolBroken | None = None
        self._closed = True
        self._peak_rss_bytes_of_ended = 0

    @property
    def peak_rss_bytes(self) -> int:
        """The most resident memory any worker of this pool has had."""
        return max([self._peak_rss_bytes_of_ended, *(worker.peak_rss_bytes for worker in self._workers)])

    async def __aenter__(self) -> Self:
        self._closed = False
        count = self._limits.workers or default_workers()
        self._slots = [asyncio.create_task(self._run_slot(), name=f"slot {n}") for n in range(count)]
        self._log(logging.INFO, f"pool of {count} workers open")
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
            _, future = self._requests.get_nowait()
            future.cancel()
        workers = list(self._workers)
        ending = (worker.discard() if kind is not None else self._retire(worker) for worker in workers)
        await asyncio.gather(*ending, return_exceptions=True)

    async def commit(self, job: ChunkJob) -> ChunkOutcome:
        """Have a chunk committed; raises ChunkFailed when it costs too many workers, PoolBroken when the run does."""
        if self._closed:
            raise WriterClosed("the writer's pool is not open")
        if self._broken is not None:
            raise self._broken
        future: asyncio.Future[ChunkOutcome] = asyncio.get_running_loop().create_future()
        self._requests.put_nowait((job, future))
        return await future

    async def _run_slot(self) -> None:
        worker: WorkerHandle | None = None
        while True:
            job, future = await self._requests.get()
            if future.done():  # its load has failed or was cancelled meanwhile
                continue
            try:
                outcome, worker = await self._serve(job, worker)
            except asyncio.CancelledError:
                future.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever waits for this chunk
                worker = None
                if not future.done():
                    future.set_exception(error)
                continue
            if not future.done():
                future.set_result(outcome)
            if reason := worker.replacement_due:
                self._log(logging.INFO, f"worker {worker.pid} is replaced: {reason}")
                await self._retire(worker)
                worker = None

    async def _serve(self, job: ChunkJob, worker: WorkerHandle | None) -> tuple[ChunkOutcome, WorkerHandle]:
        """Attempt a chunk with one worker after another until one of them answers."""
        first_attempt = job.attempt
        while True:
            if self._broken is not None:
                raise self._broken
            if worker is not None and not worker.is_running:
                await self._record_death(worker, worker.death(), None)
            if worker is None or not worker.is_running:
                worker = await WorkerHandle.start(self._hello, self._log)
                self._workers.add(worker)
            try:
                return await worker.attempt(job), worker
            except WorkerDied as death:
                await self._record_death(worker, death, job)
                worker = None
                if job.attempt - first_attempt + 1 >= self._limits.chunk_attempts_max:
                    raise ChunkFailed(
                        f"partition {job.partition.key}, chunk {job.chunk.chunk_no}: {job.attempt} workers died on it, "
                        f"the last one {death.summary}"
                    ) from death
                job = ChunkJob(job.handle, job.partition, job.chunk, job.attempt + 1, job.dead_letters_max)

    async def _record_death(self, worker: WorkerHandle, death: WorkerDied, job: ChunkJob | None) -> None:
        await worker.discard()
        self._forget(worker)
        self._deaths += 1
        incident = Incident(
            kind=death.kind,
            pid=worker.pid,
            exit_code=death.exit_code,
            partition_key=job.partition.key if job else None,
            chunk_no=job.chunk.chunk_no if job else None,
            attempt=job.attempt if job else 0,
            summary=death.summary,
            stderr_tail=death.stderr_tail,
        )
        where = f"partition {job.partition.key}, chunk {job.chunk.chunk_no}, attempt {job.attempt}" if job else "idle"
        self._log(logging.ERROR, f"worker {worker.pid} died ({where}): {death.kind}: {death.summary}")
        await self._bury(incident, job, worker.session)
        if self._deaths > self._limits.respawns_max:
            self._broken = PoolBroken(
                f"{self._deaths} workers died in this run, the respawn budget is {self._limits.respawns_max}; "
                f"the last one {death.summary}"
            )

    async def _retire(self, worker: WorkerHandle) -> None:
        """End a worker that has nothing left to do, and notice it if it was dead already."""
        if not worker.is_running:
            await self._record_death(worker, worker.death(), None)
            return
        await worker.stop()
        self._forget(worker)

    def _forget(self, worker: WorkerHandle) -> None:
        """Only once it has ended: a slot that is cancelled on the way leaves it to the pool's end."""
        self._workers.discard(worker)
        self._peak_rss_bytes_of_ended = max(self._peak_rss_bytes_of_ended, worker.peak_rss_bytes)
