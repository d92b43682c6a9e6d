"""A slot: one place in the pool. It serves one job at a time and owns at most one worker.

When the worker dies, the slot records the death, starts another worker and continues with the same job, so a chunk
cannot be lost between a dead worker and a queue. When a job has cost as many workers as it may, the slot looks for
the row that kills them.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Never, TypeVar, cast

from rowledger.chunk import Job, PlanJob
from rowledger.errors import ChunkFailed, ChunkTimedOut, DatabaseUnavailable, WorkerTerminated
from rowledger.ledger import ChunkOutcome, Failed, FailureKind, IncidentKind
from rowledger.machine import Host
from rowledger.workers.child_process import ChildDied
from rowledger.workers.crash_search import A_ROW_MAY_DO_IT, DEATHS_OF_ONE_ROW, find_crashing_rows
from rowledger.workers.handle import WorkerHandle
from rowledger.workers.workforce import Workforce, incident_at

__all__ = ["Slot"]

_Any = TypeVar("_Any", bound=Job | PlanJob)
_TOO_SLOW = (IncidentKind.STALL, IncidentKind.DEADLINE)
_TOO_SLOW_BY_ITSELF = {FailureKind.TIMED_OUT: IncidentKind.DEADLINE, FailureKind.STALLED: IncidentKind.STALL}


class Slot:
    """One place in the pool."""

    def __init__(self, workforce: Workforce) -> None:
        self._workforce = workforce
        self._limits = workforce.limits
        self._worker: WorkerHandle | None = None
        self._attempts = 0  # at the current job

    @property
    def is_up(self) -> bool:
        """Whether it has a worker."""
        return self._worker is not None and self._worker.is_running

    async def start(self) -> None:
        """Start the worker before there is a job for it; raises PoolBroken."""
        await self._living_worker()

    async def end(self) -> None:
        """End the worker, which has no job."""
        if self._worker is not None:
            await self._workforce.retire(self._take_worker())

    async def serve(self, job: Job) -> ChunkOutcome:
        """Have the job done by one worker after another, if necessary without the rows that kill them.

        Raises WorkerTerminated or ChunkTimedOut when the job costs too many workers, PoolBroken when the run does,
        and DatabaseUnavailable.
        """
        self._attempts = job.attempt - 1
        attempts_max = DEATHS_OF_ONE_ROW if job.is_suspect else self._limits.chunk_attempts_max
        is_searched = False
        while True:
            try:
                outcome = await self._attempt_until_spent(job, attempts_max)
            except WorkerTerminated as spent:
                if is_searched or spent.cause not in A_ROW_MAY_DO_IT or not job.may_set_aside(1, self._limits):
                    raise
                guilty = [0] if job.is_suspect else await self._find_crashing_rows(job, spent)
                job = await self._set_aside(job, guilty, spent)
                # A search that has found more rows than it looks for has not seen all rows.
                is_searched = len(guilty) <= self._rows_looked_for
                # Without a row to set aside, a retry helps only if something outside has killed the workers.
                attempts_max = attempts_max if guilty else 1
            else:
                await self._replace_worker_if_due(job)
                return outcome

    async def plan(self, job: PlanJob) -> ChunkOutcome:
        """Have the partition planned by one worker after another; raises as `serve` does."""
        self._attempts = job.attempt - 1
        outcome = await self._attempt_until_spent(job, self._limits.chunk_attempts_max)
        await self._replace_worker_if_due(job)
        return outcome

    async def _attempt_until_spent(self, job: Job | PlanJob, attempts_max: int) -> ChunkOutcome:
        """Attempt a job with one worker after another until one of them answers."""
        workforce = self._workforce
        for spent in range(1, attempts_max + 1):
            attempt = self._next_attempt(job)
            try:
                outcome, pid = await self._attempt(attempt)
            except ChildDied as died:
                death = died
                dead = self._take_worker()
                await workforce.record_death(dead, death, attempt, charged=not job.is_suspect)
                pid = dead.pid
            else:
                if not isinstance(outcome, Failed) or outcome.failure not in _TOO_SLOW_BY_ITSELF:
                    return outcome
                death = ChildDied(_TOO_SLOW_BY_ITSELF[outcome.failure], None, outcome.summary, "", pid=pid)
                await self._notice(attempt, death.kind, pid, death.summary)
            is_hopeless = (
                isinstance(job, PlanJob) and death.kind in _TOO_SLOW
            )  # it has had all the time that planning may take
            if spent == attempts_max or is_hopeless:
                _give_up(attempt, death, pid, workforce.host)
        raise AssertionError("there is at least one attempt")

    async def _attempt(self, job: Job | PlanJob) -> tuple[ChunkOutcome, int]:
        """One attempt, repeated as often as the connection is lost; raises ChildDied."""
        workforce, limits, gate = self._workforce, self._limits, self._workforce.gate
        retries = outages = 0
        lost_at: float | None = None
        while True:
            await gate.passed()
            if workforce.broken is not None:
                raise workforce.broken
            worker = await self._living_worker()
            workforce.assigned()
            outcome = await worker.attempt(job)
            if not (isinstance(outcome, Failed) and outcome.failure is FailureKind.CONNECTION_LOST):
                return outcome.model_copy(update={"retries": outcome.retries + retries}), worker.pid
            retries += 1
            workforce.log(logging.WARNING, f"{job.name}: the connection was lost ({outcome.summary}); trying again")
            now, paused_s, seen = time.monotonic(), gate.paused_s, gate.outages
            if lost_at is None:
                lost_at = now - paused_s
            if now - paused_s - lost_at > limits.retry_budget_s:
                raise DatabaseUnavailable(
                    f"{job.name}: the connection was lost {retries} times within {limits.retry_budget_s} s "
                    f"({outcome.summary}); {job.resumption}"
                )
            await gate.recover()
            outages += gate.outages - seen
            if outages >= limits.chunk_attempts_max:
                raise ChunkFailed(
                    f"{job.name}: the database went away {outages} times while it was written; look into the server's "
                    f"log for what makes it crash; {job.resumption}",
                    partition_key=job.partition_key,
                    chunk_no=job.chunk_no,
                )
            await asyncio.sleep(min(limits.retry_max_s, limits.retry_initial_s * retries))

    async def _find_crashing_rows(self, job: Job, spent: WorkerTerminated) -> Sequence[int]:
        """Positions of rows that kill workers; raises `spent` when single rows are not the cause, or too many are."""
        workforce, limits = self._workforce, self._limits
        workforce.log(logging.WARNING, f"{job.name}: looking for the row that kills its workers")

        async def survives(first: int, stop: int) -> bool:
            probe = self._next_attempt(job.probing(first, stop))
            try:
                outcome, _ = await self._attempt(probe)
            except ChildDied as death:
                await workforce.record_death(self._take_worker(), death, probe, charged=False)
                if death.kind not in A_ROW_MAY_DO_IT:
                    raise spent from death
                return False
            if isinstance(outcome, Failed):  # the deadline or a conflict, which says nothing about the rows
                raise spent
            return True

        guilty = await find_crashing_rows(survives, 0, job.rows, rows_max=self._rows_looked_for)
        if guilty is None:
            raise spent
        if not job.may_set_aside(len(guilty), limits):
            raise type(spent)(
                f"{spent}; more than {limits.crash_rows_max} of its rows kill a worker each, the first is "
                f"{job.row_name(guilty[0])}",
                **vars(spent),
            )
        if not guilty:
            workforce.log(logging.WARNING, f"{job.name}: no single row kills a worker; one more round of attempts")
        return guilty

    @property
    def _rows_looked_for(self) -> int:
        return max(1, self._limits.crash_rows_max)

    async def _set_aside(self, job: Job, guilty: Sequence[int], spent: WorkerTerminated) -> Job:
        """The job without these rows."""
        for position in guilty:
            told = f"{job.row_name(position)} kills its worker, alone and every time; it is kept as a dead letter"
            await self._notice(job, IncidentKind.CRASHING_ROW, spent.pid, told)
            self._workforce.log(logging.WARNING, f"{job.name}: {told}")
        return job.without(guilty, f"every worker that took this row died, the last one {spent.summary}")

    async def _living_worker(self) -> WorkerHandle:
        if self._worker is not None and not self._worker.is_running:
            dead = self._take_worker()
            await self._workforce.record_death(dead, dead.death(), None)
        if self._worker is None:
            self._worker = await self._workforce.start_worker()
        return self._worker

    async def _replace_worker_if_due(self, job: Job | PlanJob) -> None:
        if self._worker is None or (due := self._worker.replacement_due) is None:
            return
        kind, reason = due
        worker = self._take_worker()
        self._workforce.log(logging.INFO, f"worker {self._workforce.host.told(worker.pid)} is replaced: it {reason}")
        await self._workforce.retire(worker)
        await self._notice(job, kind, worker.pid, reason)

    async def _notice(self, job: Job | PlanJob, kind: IncidentKind, pid: int, summary: str) -> None:
        """Have an incident recorded of a worker that goes on, or is replaced by intent."""
        workforce = self._workforce
        await workforce.notice(incident_at(job, kind, pid, summary, host=workforce.host.name), job, None)

    def _take_worker(self) -> WorkerHandle:
        worker, self._worker = self._worker, None
        assert worker is not None  # noqa: S101 - called only after an attempt with it
        return worker

    def _next_attempt(self, job: _Any) -> _Any:
        self._attempts += 1
        return cast("_Any", job.numbered(self._attempts))


def _give_up(job: Job | PlanJob, death: ChildDied, pid: int, host: Host) -> Never:
    too_slow = death.kind in _TOO_SLOW
    kind = ChunkTimedOut if too_slow else WorkerTerminated
    raise kind(
        f"{job.name}: {job.attempt} workers {'were too slow for' if too_slow else 'died on'} it, "
        f"the last one (pid {host.told(pid)}) {death.summary}; {job.resumption}",
        pid=pid,
        host=host.name,
        exit_code=death.exit_code,
        cause=death.kind,
        summary=death.summary,
        partition_key=job.partition_key,
        chunk_no=job.chunk_no,
        worker_traceback=death.stderr_tail,
    ) from death
