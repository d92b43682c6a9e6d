"""The workers of one pool: how they start and end, how their deaths are reported, and how many may die."""

import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from pydantic import BaseModel

from rowledger.chunk import Job, PlanJob
from rowledger.counted import counted
from rowledger.errors import PoolBroken
from rowledger.ledger import Incident, IncidentKind
from rowledger.machine import Host
from rowledger.postgres import OutageGate, SessionIdentity
from rowledger.settings import WriterSettings
from rowledger.workers.child_process import ChildDied, ChildProcess, LogSink
from rowledger.workers.handle import WorkerHandle
from rowledger.workers.messages import Hello
from rowledger.workers.producer import ProducerHandle
from rowledger.workers.production import ProducerHello, Production
from rowledger.workers.spawn import EarlyProcesses

__all__ = ["Activity", "Notice", "Work", "WorkerAtWork", "Workforce", "incident_at"]

_Child = TypeVar("_Child", bound=ChildProcess)

Work = Job | PlanJob | Production
Notice = Callable[[Incident, Work | None, SessionIdentity | None], Awaitable[None]]
"""Called for each incident before the work is retried: records it, and terminates what the worker has left on the server."""


class Activity(StrEnum):
    """What a pool works for, as its errors name it."""

    RUN = "run"
    REPLAY = "replay"

    @property
    def again(self) -> str:
        """What to do once the cause is fixed."""
        return "rerun" if self is Activity.RUN else "replay again"


@dataclass(frozen=True, slots=True)
class WorkerAtWork:
    """A running worker, and what it works on."""

    pid: int
    work: Job | PlanJob | None


class Workforce:
    """What the slots of a pool share. `broken` is set once more workers have died than `respawns_max` allows."""

    def __init__(
        self,
        hello: Hello,
        activity: Activity,
        gate: OutageGate,
        notice: Notice,
        log: LogSink,
        early: EarlyProcesses,
        assigned: Callable[[], None] = lambda: None,
    ) -> None:
        self.gate = gate
        self.assigned = assigned
        self.notice = notice
        self.log = log
        self.children: set[ChildProcess] = set()
        self.deaths = 0
        self.broken: PoolBroken | None = None
        self._hello = hello
        self._activity = activity
        self._early = early
        self.charged_deaths = 0
        self._peak_rss_bytes_of_ended = 0

    @property
    def limits(self) -> WriterSettings:
        return self._hello.settings

    @property
    def host(self) -> Host:
        """Where its processes are."""
        return self._hello.host

    @property
    def peak_rss_bytes(self) -> int:
        """The most resident memory that any of the workers has had."""
        return max(
            [
                self._peak_rss_bytes_of_ended,
                *(worker.peak_rss_bytes for worker in self.children if isinstance(worker, WorkerHandle)),
            ]
        )

    def workers_at_work(self) -> list[WorkerAtWork]:
        """The workers that there are now."""
        workers = (child for child in self.children if isinstance(child, WorkerHandle))
        return [WorkerAtWork(worker.pid, worker.job) for worker in workers]

    async def start_worker(self) -> WorkerHandle:
        """Start a worker; raises PoolBroken where the machine lacks the resources for one."""
        return await self._start(WorkerHandle, self._hello)

    async def start_producer(self, hello: ProducerHello) -> ProducerHandle:
        """Start a producer; raises PoolBroken where the machine lacks the resources for one."""
        return await self._start(ProducerHandle, hello)

    async def _start(self, kind: type[_Child], hello: BaseModel) -> _Child:
        try:
            child = await kind.start(hello, self.limits, self.log, self._early.take(kind.module))
        except OSError as error:  # no descriptor, no process, no memory left
            raise PoolBroken(
                f"a {kind.role} could not be started ({type(error).__name__}: {error.strerror}); raise the limit "
                f"(ulimit -n, ulimit -u) or start fewer workers, then {self._activity.again}"
            ) from error
        self.children.add(child)
        return child

    async def record_death(
        self, child: ChildProcess, death: ChildDied, work: Work | None, *, charged: bool = True
    ) -> None:
        """End what is left of a child process and record its death; `charged` counts it against the respawn budget."""
        await child.discard()
        self._forget(child)
        self.deaths += 1
        where = f"{work.name}, attempt {work.attempt}" if work else "idle"
        self.log(
            logging.ERROR, f"{child.role} {self.host.told(child.pid)} died ({where}): {death.kind}: {death.summary}"
        )
        incident = incident_at(
            work, death.kind, child.pid, death.summary, death.exit_code, death.stderr_tail, host=self.host.name
        )
        await self.notice(incident, work, child.session)
        if not charged:
            return
        self.charged_deaths += 1
        if self.charged_deaths > self.limits.respawns_max and self.broken is None:
            self.broken = PoolBroken(
                f"{counted(self.charged_deaths, 'worker')} died in this {self._activity}, the respawn budget is "
                f"{self.limits.respawns_max}; the last one (pid {self.host.told(child.pid)}) {death.summary}. Look at "
                f"`rowledger incidents --table TABLE`, fix the cause, {self._activity.again}"
            )
            spent = incident_at(work, IncidentKind.RESPAWN_BUDGET, os.getpid(), str(self.broken), host=self.host.name)
            await self.notice(spent, work, None)

    async def retire(self, child: ChildProcess) -> None:
        """End a child process that has no work left, and record its death if it was dead already."""
        if (death := await child.stop()) is not None:
            await self.record_death(child, death, None)
        self._forget(child)

    async def discard(self, child: ChildProcess) -> None:
        """End a child process at once, by intent."""
        await child.discard()
        self._forget(child)

    def _forget(self, child: ChildProcess) -> None:
        """Call this only once the process has ended: a slot that is cancelled before that leaves it to the pool's exit."""
        self.children.discard(child)
        if isinstance(child, WorkerHandle):
            self._peak_rss_bytes_of_ended = max(self._peak_rss_bytes_of_ended, child.peak_rss_bytes)


def incident_at(
    job: Work | None,
    kind: IncidentKind,
    pid: int,
    summary: str,
    exit_code: int | None = None,
    stderr_tail: str = "",
    *,
    host: str,
) -> Incident:
    """An incident of a job or a production, or of a process that had none, on the host of this name."""
    return Incident(
        kind=kind,
        pid=pid,
        exit_code=exit_code,
        partition_key=job.partition_key if job else None,
        chunk_no=job.chunk_no if job else None,
        attempt=job.attempt if job else 0,
        summary=f"{job.incident_prefix if job else ''}{summary}",
        stderr_tail=stderr_tail,
        host=host,
    )
