"""A slot: one place in the pool. It serves one chunk at a time and owns at most one worker.

When the worker dies, the slot records it, starts another and goes on with the same chunk, so a chunk cannot fall between a
dead worker and a queue. When a chunk has cost as many workers as it may, the slot looks for the row that kills them.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Never

from rowledger.chunk import ChunkJob, SetAside
from rowledger.errors import ChunkFailed, ChunkTimedOut, DatabaseUnavailable, PoolBroken, WorkerTerminated
from rowledger.ledger import ChunkOutcome, Failed, FailureKind, Incident, IncidentKind
from rowledger.postgres import OutageGate, SessionIdentity
from rowledger.settings import WriterSettings
from rowledger.workers.crash_search import A_ROW_MAY_DO_IT, find_crashing_rows
from rowledger.workers.handle import LogSink, WorkerDied, WorkerHandle
from rowledger.workers.messages import Hello

__all__ = ["Notice", "Pool", "Slot"]

Notice = Callable[[Incident, ChunkJob | None, SessionIdentity | None], Awaitable[None]]
"""Called for each incident, before the chunk is tried again: record it, and end what the worker left on the server."""

_TOO_SLOW = (IncidentKind.STALL, IncidentKind.DEADLINE)
_TOO_SLOW_BY_ITSELF = {FailureKind.TIMED_OUT: IncidentKind.DEADLINE, FailureKind.STALLED: IncidentKind.STALL}


@dataclass
class Pool:
    """What the slots share: how a worker is started, who is told of its death, how many have died."""

    hello: Hello
    gate: OutageGate
    notice: Notice
    log: LogSink
    workers: set[WorkerHandle] = field(default_factory=set)
    deaths: int = 0
    broken: PoolBroken | None = None
    peak_rss_bytes_of_ended: int = 0

    @property
    def limits(self) -> WriterSettings:
        return self.hello.settings

    async def start_worker(self) -> WorkerHandle:
        try:
            worker = await WorkerHandle.start(self.hello, self.log)
        except OSError as error:  # no descriptor, no process, no memory left
            raise PoolBroken(
                f"a worker could not be started ({type(error).__name__}: {error.strerror}); raise the limit "
                "(ulimit -n, ulimit -u) or start fewer workers, then rerun"
            ) from error
        self.workers.add(worker)
        return worker

    async def record_death(
        self, worker: WorkerHandle, death: WorkerDied, job: ChunkJob | None, *, charged: bool = True
    ) -> None:
        """Bury a worker; `charged` counts it against the respawn budget."""
        await worker.discard()
        self.forget(worker)
        where = f"partition {job.partition.key}, chunk {job.chunk.chunk_no}, attempt {job.attempt}" if job else "idle"
        self.log(logging.ERROR, f"worker {worker.pid} died ({where}): {death.kind}: {death.summary}")
        incident = incident_of(death.kind, worker.pid, death.summary, job, death.exit_code, death.stderr_tail)
        await self.notice(incident, job, worker.session)
        if not charged:
            return
        self.deaths += 1
        if self.deaths > self.limits.respawns_max and self.broken is None:
            self.broken = PoolBroken(
                f"{self.deaths} workers died in this run, the respawn budget is {self.limits.respawns_max}; "
                f"the last one {death.summary}. Read the incidents, fix the cause, rerun"
            )
            told = incident_of(IncidentKind.RESPAWN_BUDGET, os.getpid(), str(self.broken), job)
            await self.notice(told, job, None)

    async def retire(self, worker: WorkerHandle) -> None:
        """End a worker that has nothing left to do, and notice it if it was dead already."""
        if (death := await worker.stop()) is not None:
            await self.record_death(worker, death, None)
        self.forget(worker)

    def forget(self, worker: WorkerHandle) -> None:
        """Only once it has ended: a slot that is cancelled on the way leaves it to the pool's end."""
        self.workers.discard(worker)
        self.peak_rss_bytes_of_ended = max(self.peak_rss_bytes_of_ended, worker.peak_rss_bytes)


class Slot:
    """One place in the pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._worker: WorkerHandle | None = None
        self._attempts = 0  # at the chunk in hand

    async def start(self) -> None:
        """Start the worker before there is a chunk for it; raises PoolBroken."""
        await self._living_worker()

    async def serve(self, job: ChunkJob) -> ChunkOutcome:
        """Have the chunk committed, with one worker after another, without the rows that kill them if need be.

        Raises WorkerTerminated or ChunkTimedOut when it costs too many workers, PoolBroken when the run does, and
        DatabaseUnavailable.
        """
        self._attempts = job.attempt - 1
        try:
            outcome = await self._attempt_until_spent(job)
        except WorkerTerminated as spent:
            if self._pool.limits.crash_rows_max == 0 or spent.cause not in A_ROW_MAY_DO_IT:
                raise
            mended = await self._without_crashing_rows(job, spent)
            # Without a row to set aside there is little hope, except that something outside has killed the workers.
            outcome = await self._attempt_until_spent(mended, attempts_max=None if mended.set_aside else 1)
        await self._replace_worker_if_due(job)
        return outcome

    async def _attempt_until_spent(self, job: ChunkJob, *, attempts_max: int | None = None) -> ChunkOutcome:
        """Attempt a chunk with one worker after another until one of them answers."""
        pool = self._pool
        attempts_max = attempts_max or pool.limits.chunk_attempts_max
        for spent in range(1, attempts_max + 1):
            attempt = self._next_attempt(job)
            try:
                outcome, pid = await self._attempt(attempt)
            except WorkerDied as died:
                death = died
                dead = self._take_worker()
                await pool.record_death(dead, death, attempt)
                pid = dead.pid
            else:
                if not isinstance(outcome, Failed) or outcome.failure not in _TOO_SLOW_BY_ITSELF:
                    return outcome
                death = WorkerDied(_TOO_SLOW_BY_ITSELF[outcome.failure], None, outcome.summary, "")
                await pool.notice(incident_of(death.kind, pid, death.summary, attempt), attempt, None)
            if spent == attempts_max:
                _give_up(attempt, death, pid)
        raise AssertionError("there is at least one attempt")

    async def _attempt(self, job: ChunkJob) -> tuple[ChunkOutcome, int]:
        """One attempt, made anew as often as the connection is lost; raises WorkerDied."""
        pool, limits = self._pool, self._pool.limits
        retries = outages = 0
        lost_at: float | None = None
        while True:
            await pool.gate.passed()
            if pool.broken is not None:
                raise pool.broken
            worker = await self._living_worker()
            outcome = await worker.attempt(job)
            if not (isinstance(outcome, Failed) and outcome.failure is FailureKind.CONNECTION_LOST):
                return outcome.model_copy(update={"retries": outcome.retries + retries}), worker.pid
            retries += 1
            pool.log(logging.WARNING, f"{_name(job)}: the connection was lost ({outcome.summary}); trying again")
            now, paused_s, seen = time.monotonic(), pool.gate.paused_s, pool.gate.outages
            if lost_at is None:
                lost_at = now - paused_s
            if now - paused_s - lost_at > limits.retry_budget_s:
                raise DatabaseUnavailable(
                    f"{_name(job)}: the connection was lost {retries} times within {limits.retry_budget_s} s "
                    f"({outcome.summary}); a rerun resumes at this chunk"
                )
            await pool.gate.recover()
            outages += pool.gate.outages - seen
            if outages >= limits.chunk_attempts_max:
                raise ChunkFailed(
                    f"{_name(job)}: the database went away {outages} times while it was written; look into the server's "
                    "log for what makes it crash, then rerun, which resumes at this chunk",
                    partition_key=job.partition.key,
                    chunk_no=job.chunk.chunk_no,
                )
            await asyncio.sleep(min(limits.retry_max_s, limits.retry_initial_s * retries))

    async def _without_crashing_rows(self, job: ChunkJob, spent: WorkerTerminated) -> ChunkJob:
        """The job without the rows that kill its workers; raises `spent` when it is not a matter of single rows."""
        pool, limits = self._pool, self._pool.limits
        pool.log(logging.WARNING, f"{_name(job)}: looking for the row that kills its workers")
        first = job.chunk.first_row

        async def survives(first: int, stop: int) -> bool:
            probe = self._next_attempt(replace(job, probe=(first, stop)))
            try:
                outcome, _ = await self._attempt(probe)
            except WorkerDied as death:
                await pool.record_death(self._take_worker(), death, probe, charged=False)
                if death.kind not in A_ROW_MAY_DO_IT:
                    raise spent from death
                return False
            if isinstance(outcome, Failed):  # the deadline, a conflict: nothing that would tell of the rows
                raise spent
            return True

        rows = await find_crashing_rows(survives, first, first + job.chunk.rows, rows_max=limits.crash_rows_max)
        if rows is None:
            raise spent
        if len(rows) > limits.crash_rows_max:
            raise type(spent)(
                f"{spent}; more than {limits.crash_rows_max} of its rows kill a worker each, the first is row {rows[0]}",
                **vars(spent),
            )
        if not rows:
            pool.log(logging.WARNING, f"{_name(job)}: no single row kills a worker; one more round of attempts")
        reason = f"every worker that took this row died, the last one {spent.summary}"
        for row in rows:
            told = f"row {row} kills its worker, alone and every time; it becomes a dead letter"
            await pool.notice(incident_of(IncidentKind.CRASHING_ROW, spent.pid, told, job), job, None)
            pool.log(logging.WARNING, f"{_name(job)}: {told}")
        return replace(job, set_aside=tuple(SetAside(row, reason) for row in rows))

    async def _living_worker(self) -> WorkerHandle:
        if self._worker is not None and not self._worker.is_running:
            dead = self._take_worker()
            await self._pool.record_death(dead, dead.death(), None)
        if self._worker is None:
            self._worker = await self._pool.start_worker()
        return self._worker

    async def _replace_worker_if_due(self, job: ChunkJob) -> None:
        if self._worker is None or (due := self._worker.replacement_due) is None:
            return
        kind, reason = due
        worker = self._take_worker()
        self._pool.log(logging.INFO, f"worker {worker.pid} is replaced: {reason}")
        await self._pool.retire(worker)
        await self._pool.notice(incident_of(kind, worker.pid, reason, job), job, None)

    def _take_worker(self) -> WorkerHandle:
        worker, self._worker = self._worker, None
        assert worker is not None  # noqa: S101 - called only after an attempt with it
        return worker

    def _next_attempt(self, job: ChunkJob) -> ChunkJob:
        self._attempts += 1
        return replace(job, attempt=self._attempts)


def incident_of(
    kind: IncidentKind,
    pid: int,
    summary: str,
    job: ChunkJob | None,
    exit_code: int | None = None,
    stderr_tail: str = "",
) -> Incident:
    """An incident at a chunk, or outside of any."""
    return Incident(
        kind=kind,
        pid=pid,
        exit_code=exit_code,
        partition_key=job.partition.key if job else None,
        chunk_no=job.chunk.chunk_no if job else None,
        attempt=job.attempt if job else 0,
        summary=summary,
        stderr_tail=stderr_tail,
    )


def _name(job: ChunkJob) -> str:
    return f"partition {job.partition.key}, chunk {job.chunk.chunk_no}"


def _give_up(job: ChunkJob, death: WorkerDied, pid: int) -> Never:
    too_slow = death.kind in _TOO_SLOW
    kind = ChunkTimedOut if too_slow else WorkerTerminated
    raise kind(
        f"{_name(job)}: {job.attempt} workers {'were too slow for' if too_slow else 'died on'} it, "
        f"the last one (pid {pid}) {death.summary}; a rerun resumes at this chunk",
        pid=pid,
        exit_code=death.exit_code,
        cause=death.kind,
        summary=death.summary,
        partition_key=job.partition.key,
        chunk_no=job.chunk.chunk_no,
        worker_traceback=death.stderr_tail,
    ) from death
