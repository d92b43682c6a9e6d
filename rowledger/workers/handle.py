"""The supervisor's side of one worker: the attempts it is given, and its heartbeats."""

import asyncio
import time
from typing import Any, ClassVar

from rowledger.chunk import Job, PlanJob
from rowledger.ledger import ChunkOutcome, IncidentKind
from rowledger.postgres import SessionIdentity
from rowledger.workers.child_process import WATCH_INTERVAL_S, ChildProcess
from rowledger.workers.guards import Vitals, for_planning, overrun, replacement_due
from rowledger.workers.messages import Assign, Heartbeat, LogLine, Outcome, Ready, Stop, decode_from_worker
from rowledger.workers.spawn import WORKER

__all__ = ["WorkerHandle"]

_LATE_S = 1.0  # a look that is late by more than this counts as missed


class WorkerHandle(ChildProcess):
    """A running worker. One slot at a time uses it."""

    module: ClassVar[str] = WORKER
    role: ClassVar[str] = "worker"

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - those of ChildProcess
        super().__init__(*arguments)
        now = time.monotonic()
        self._vitals = Vitals(chunk_started_at=now, progressed_at=now)
        self._job: Job | PlanJob | None = None
        self._outcome: asyncio.Future[ChunkOutcome] | None = None

    @property
    def job(self) -> Job | PlanJob | None:
        """What it works on."""
        return self._job

    @property
    def replacement_due(self) -> tuple[IncidentKind, str] | None:
        """Why this worker should be replaced now that its chunk is done; None when it may continue."""
        return replacement_due(self._vitals, self._limits)

    async def attempt(self, job: Job | PlanJob) -> ChunkOutcome:
        """Have the worker make one attempt; raises ChildDied when it ends, or must be ended, without an outcome."""
        now = time.monotonic()
        self._vitals.chunk_started_at = self._vitals.progressed_at = now
        self._job = job
        self._outcome = asyncio.get_running_loop().create_future()
        limits = for_planning(self._limits) if isinstance(job, PlanJob) else self._limits
        try:
            self.send(Assign(job=job))
            awaited: set[asyncio.Future[Any]] = {self._outcome, self._exited}
            while True:
                asleep_at = time.monotonic()
                await asyncio.wait(awaited, timeout=WATCH_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
                self._excuse(time.monotonic() - asleep_at)
                if self._outcome.done():
                    return self._outcome.result()
                if self._exited.done():
                    return await self._last_words()
                self.look_at_memory()
                self._vitals.rss_bytes = self.rss_bytes
                if forced := overrun(self._vitals, limits, time.monotonic()):
                    self._forced = forced
                    self.kill()
                    return await self._last_words()
        finally:
            self._job = self._outcome = None

    def _excuse(self, slept_s: float) -> None:
        """Do not count time in which this process was stopped or starved: it has not read the heartbeats either."""
        if (missed_s := slept_s - WATCH_INTERVAL_S) > _LATE_S:
            self._vitals.chunk_started_at += missed_s
            self._vitals.progressed_at += missed_s

    async def _last_words(self) -> ChunkOutcome:
        await self._hear_last_words()
        if self._outcome is not None and self._outcome.done():
            return self._outcome.result()
        raise self.death()

    def _ask_to_end(self) -> None:
        self.send(Stop())

    def _take(self, line: bytes) -> None:
        match decode_from_worker(line):
            case Heartbeat() as beat:
                vitals = self._vitals
                if vitals.heartbeats == 0:  # the start of a worker is progress too
                    vitals.progressed_at = time.monotonic()
                self._has_come_up = True
                vitals.heartbeats += 1
                vitals.rss_bytes, vitals.descriptors = beat.rss_bytes, beat.descriptors
                self.peak_rss_bytes = max(self.peak_rss_bytes, beat.rss_bytes)
                if beat.progress > vitals.progress:
                    vitals.progress = beat.progress
                    vitals.progressed_at = time.monotonic()
            case Ready() as ready:
                self.session = SessionIdentity(ready.backend_pid, ready.backend_start)
            case LogLine() as said:
                self._log(said.level, f"{self._origin}: {said.text}")
            case Outcome() as answer:
                if self._outcome is not None and not self._outcome.done():
                    self._outcome.set_result(answer.outcome)

    @property
    def _work(self) -> str | None:
        return self._job.name if self._job else None
