"""The pool of one run: it assigns jobs to its slots, and raises PoolBroken when too many workers die."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Self

from rowledger.chunk import Job, PlanJob
from rowledger.counted import counted
from rowledger.errors import PoolBroken, WriterClosed
from rowledger.ledger import ChunkOutcome, Planned, SourceRaised
from rowledger.postgres import OutageGate
from rowledger.workers.child_process import LogSink
from rowledger.workers.job_queue import JobQueue
from rowledger.workers.messages import Hello
from rowledger.workers.producers import Producers
from rowledger.workers.production import Produced, ProducerHello, Production
from rowledger.workers.slot import Slot
from rowledger.workers.source_errors import source_error
from rowledger.workers.spawn import EarlyProcesses
from rowledger.workers.workforce import Activity, Notice, WorkerAtWork, Workforce

__all__ = ["Pool"]

_Request = tuple[Job | PlanJob, "asyncio.Future[ChunkOutcome]"]
_FIRST, _IN_TURN = 0, 1  # a plan makes work for all workers, so it comes before the chunks that wait


class Pool:
    """The workers and producers of this machine, as an async context manager. It begins with `hello.settings.workers` workers.

    A worker is started when its slot gets its first job. For `jobs_expected` jobs workers are started at once, so
    that they come up while the run still plans. The same holds for the first producer where `production_expected`. Processes of
    `early` are taken before new ones are started. `assigned` is called as a worker gets an attempt.
    """

    def __init__(
        self,
        hello: Hello,
        *,
        gate: OutageGate,
        notice: Notice,
        log: LogSink,
        activity: Activity = Activity.RUN,
        jobs_expected: int = 0,
        production_expected: bool = False,
        early: EarlyProcesses | None = None,
        assigned: Callable[[], None] = lambda: None,
    ) -> None:
        self._workforce = Workforce(hello, activity, gate, notice, log, early or EarlyProcesses(), assigned)
        self._producers = Producers(self._workforce, ProducerHello(spec=hello.spec, path=hello.path))
        self._jobs_expected = jobs_expected
        self._production_expected = production_expected
        self._requests: JobQueue[_Request] = JobQueue()
        self._workers_wanted = hello.settings.workers
        self._slots: set[Slot] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._closed = True

    @property
    def peak_rss_bytes(self) -> int:
        """The most resident memory that any worker of this pool has had."""
        return self._workforce.peak_rss_bytes

    @property
    def charged_deaths(self) -> int:
        """Deaths that count against the respawn budget."""
        return self._workforce.charged_deaths

    def workers_at_work(self) -> Sequence[WorkerAtWork]:
        """The workers that there are now."""
        return self._workforce.workers_at_work()

    @property
    def worker_deaths(self) -> int:
        """Workers and producers that ended, or were killed, before their time."""
        return self._workforce.deaths

    async def __aenter__(self) -> Self:
        self._closed = False
        count = self._workers_wanted
        slots = [Slot(self._workforce) for _ in range(count)]
        try:
            if self._production_expected:  # first: workers wait for its chunks
                await self._producers.start_one()
            with contextlib.suppress(PoolBroken):  # the next job's caller gets the error
                for slot in slots[: self._jobs_expected]:
                    await slot.start()
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        for slot in slots:
            self._open(slot)
        self._workforce.log(logging.INFO, f"pool of {counted(count, 'worker')} open")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all workers: gracefully after a successful run, at once after an error or a cancel."""
        self._closed = True
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        for _, future in self._requests.drain():
            future.cancel()
        children = list(self._workforce.children)
        ending = (child.discard() if kind is not None else self._workforce.retire(child) for child in children)
        await asyncio.gather(*ending, return_exceptions=True)

    async def plan(self, job: PlanJob) -> Planned:
        """Have a partition planned; raises what its source raises, or as `commit` does."""
        outcome = await self._done(job, _FIRST)
        if isinstance(outcome, SourceRaised):
            raise source_error(outcome)
        assert isinstance(outcome, Planned)  # noqa: S101 - nothing else was asked for
        return outcome

    async def commit(self, job: Job) -> ChunkOutcome:
        """Have a job done; raises WorkerTerminated, ChunkTimedOut, PoolBroken, DatabaseUnavailable, WriterClosed."""
        return await self._done(job, _IN_TURN)

    async def _done(self, job: Job | PlanJob, urgency: int) -> ChunkOutcome:
        if self._closed:
            raise WriterClosed("the writer's pool is not open: use it inside its `async with` block")
        if self._workforce.broken is not None:
            raise self._workforce.broken
        future: asyncio.Future[ChunkOutcome] = asyncio.get_running_loop().create_future()
        self._requests.put((job, future), urgency)
        return await future

    def produce(self, work: Production, *, may_repeat: bool) -> AsyncGenerator[Produced, None]:
        """Have a partition's source read by a producer; see `Producers.chunks`."""
        return self._producers.chunks(work, may_repeat=may_repeat)

    def resize(self, workers: int) -> None:
        """Have this many workers, at least one, from now on.

        Idle ones end at once and the others after their job, so nothing that is under way is lost. A worker is started
        with its slot's first job.
        """
        self._workers_wanted = max(1, workers)
        if self._closed:
            return
        for _ in range(len(self._slots), self._workers_wanted):
            self._open(Slot(self._workforce))
        for slot in self._requests.dismiss(len(self._slots) - self._workers_wanted):
            self._slots.discard(slot)

    def _open(self, slot: Slot) -> None:
        self._slots.add(slot)
        task = asyncio.create_task(self._run_slot(slot))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _run_slot(self, slot: Slot) -> None:
        """Serve jobs until the pool ends, or has more slots than it wants."""
        while slot in self._slots and (request := await self._requests.take(slot)) is not None:
            await self._serve(slot, *request)
            if len(self._slots) > self._workers_wanted:
                self._slots.discard(slot)
        await slot.end()

    async def _serve(self, slot: Slot, job: Job | PlanJob, future: "asyncio.Future[ChunkOutcome]") -> None:
        """Do the job, unless its load has failed or was cancelled meanwhile."""
        if future.done():
            return
        try:
            outcome = await (slot.plan(job) if isinstance(job, PlanJob) else slot.serve(job))
        except asyncio.CancelledError:
            future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - every error belongs to the caller that waits for this job
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(outcome)
