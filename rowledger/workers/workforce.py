"""The workers of one pool: how they start and end, how their deaths are reported, and how many may die."""

import logging
import os
from collections.abc import Awaitable, Callable
from enum import StrEnum

from rowledger.chunk import Job
from rowledger.errors import PoolBroken
from rowledger.ledger import Incident, IncidentKind
from rowledger.postgres import OutageGate, SessionIdentity
from rowledger.settings import WriterSettings
from rowledger.workers.handle import LogSink, WorkerDied, WorkerHandle
from rowledger.workers.messages import Hello

__all__ = ["Activity", "Notice", "Workforce", "incident_at"]

Notice = Callable[[Incident, Job | None, SessionIdentity | None], Awaitable[None]]
"""Called for each incident before the job is retried: records it, and terminates what the worker has left on the server."""


class Activity(StrEnum):
    """What a pool works for, as its errors name it."""

    RUN = "run"
    REPLAY = "replay"

    @property
    def again(self) -> str:
        """What to do once the cause is fixed."""
        return "rerun" if self is Activity.RUN else "replay again"


class Workforce:
    """What the slots of a pool share. `broken` is set once more workers have died than `respawns_max` allows."""

    def __init__(self, hello: Hello, activity: Activity, gate: OutageGate, notice: Notice, log: LogSink) -> None:
        self.gate = gate
        self.notice = notice
        self.log = log
        self.workers: set[WorkerHandle] = set()
        self.deaths = 0
        self.broken: PoolBroken | None = None
        self._hello = hello
        self._activity = activity
        self._charged_deaths = 0
        self._peak_rss_bytes_of_ended = 0

    @property
    def limits(self) -> WriterSettings:
        return self._hello.settings

    @property
    def peak_rss_bytes(self) -> int:
        """The most resident memory that any of the workers has had."""
        return max([self._peak_rss_bytes_of_ended, *(worker.peak_rss_bytes for worker in self.workers)])

    async def start_worker(self) -> WorkerHandle:
        """Start a worker; raises PoolBroken where the machine lacks the resources for one."""
        try:
            worker = await WorkerHandle.start(self._hello, self.log)
        except OSError as error:  # no descriptor, no process, no memory left
            raise PoolBroken(
                f"a worker could not be started ({type(error).__name__}: {error.strerror}); raise the limit "
                f"(ulimit -n, ulimit -u) or start fewer workers, then {self._activity.again}"
            ) from error
        self.workers.add(worker)
        return worker

    async def record_death(
        self, worker: WorkerHandle, death: WorkerDied, job: Job | None, *, charged: bool = True
    ) -> None:
        """End what is left of a worker and record its death; `charged` counts it against the respawn budget."""
        await worker.discard()
        self._forget(worker)
        self.deaths += 1
        where = f"{job.name}, attempt {job.attempt}" if job else "idle"
        self.log(logging.ERROR, f"worker {worker.pid} died ({where}): {death.kind}: {death.summary}")
        incident = incident_at(job, death.kind, worker.pid, death.summary, death.exit_code, death.stderr_tail)
        await self.notice(incident, job, worker.session)
        if not charged:
            return
        self._charged_deaths += 1
        if self._charged_deaths > self.limits.respawns_max and self.broken is None:
            self.broken = PoolBroken(
                f"{self._charged_deaths} workers died in this {self._activity}, the respawn budget is "
                f"{self.limits.respawns_max}; the last one {death.summary}. Look at `rowledger incidents --table TABLE`, "
                f"fix the cause, {self._activity.again}"
            )
            await self.notice(incident_at(job, IncidentKind.RESPAWN_BUDGET, os.getpid(), str(self.broken)), job, None)

    async def retire(self, worker: WorkerHandle) -> None:
        """End a worker that has no work left, and record its death if it was dead already."""
        if (death := await worker.stop()) is not None:
            await self.record_death(worker, death, None)
        self._forget(worker)

    def _forget(self, worker: WorkerHandle) -> None:
        """Call this only once the worker has ended: a slot that is cancelled before that leaves it to the pool's exit."""
        self.workers.discard(worker)
        self._peak_rss_bytes_of_ended = max(self._peak_rss_bytes_of_ended, worker.peak_rss_bytes)


def incident_at(
    job: Job | None,
    kind: IncidentKind,
    pid: int,
    summary: str,
    exit_code: int | None = None,
    stderr_tail: str = "",
) -> Incident:
    """An incident of a job, or of a worker that had none."""
    return Incident(
        kind=kind,
        pid=pid,
        exit_code=exit_code,
        partition_key=job.partition_key if job else None,
        chunk_no=job.chunk_no if job else None,
        attempt=job.attempt if job else 0,
        summary=f"{job.incident_prefix if job else ''}{summary}",
        stderr_tail=stderr_tail,
    )
