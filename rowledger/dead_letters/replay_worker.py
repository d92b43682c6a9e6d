"""The worker that a replay works with: one process after another, each job tried again after a lost connection."""

import logging
from collections.abc import Callable
from dataclasses import replace

import asyncpg

from rowledger.chunk import ReplayJob
from rowledger.errors import DatabaseUnavailable, PoolBroken, ReplayFailed
from rowledger.ledger import Failed, FailureKind, Incident, SupervisorSessions, record_incident
from rowledger.postgres import OutageGate, query
from rowledger.workers import Hello, WorkerDied, WorkerHandle

__all__ = ["ReplayWorker"]

_LOSSES_MAX = 10  # of the connection, one after the other


class ReplayWorker:
    """At most one living worker; `deaths` counts those that ended without an outcome."""

    def __init__(
        self,
        hello: Hello,
        *,
        table: str,
        gate: OutageGate,
        sessions: SupervisorSessions,
        host: str,
        run_id: str | None,
        log: Callable[[int, str], None],
    ) -> None:
        self._hello = hello
        self._table = table
        self._gate = gate
        self._sessions = sessions
        self._host = host
        self._run_id = run_id
        self._log = log
        self._worker: WorkerHandle | None = None
        self._charged_deaths = 0
        self.deaths = 0

    async def attempt(self, job: ReplayJob) -> None:
        """Have a worker try the job; raises WorkerDied, ReplayFailed, DatabaseUnavailable.

        It is tried again after a lost connection, and after a statement that did not get on.
        """
        lost = stalled = 0
        while True:
            await self._gate.passed()
            worker = await self._living_worker()
            outcome = await worker.attempt(replace(job, attempt=job.attempt + lost + stalled))
            if not isinstance(outcome, Failed):
                return
            told = f"table {self._table}, {job.name}: {outcome.summary}"
            stalled += outcome.failure is FailureKind.STALLED
            if outcome.failure is FailureKind.STALLED and stalled < self._hello.settings.chunk_attempts_max:
                self._log(logging.WARNING, f"{told}; trying again")
                continue
            if outcome.failure is not FailureKind.CONNECTION_LOST:
                if outcome.traceback and outcome.failure is FailureKind.FATAL:
                    self._log(logging.ERROR, f"{job.name}:\n{outcome.traceback}")
                if outcome.failure in (FailureKind.TRANSIENT, FailureKind.TIMED_OUT, FailureKind.STALLED):
                    raise DatabaseUnavailable(
                        f"{told} (after {outcome.retries} retries); replay again, which continues after it"
                    )
                raise ReplayFailed(told)
            lost += 1
            if lost >= _LOSSES_MAX:
                raise DatabaseUnavailable(f"{told}; the connection was lost {lost} times; replay again when it holds")
            self._log(logging.WARNING, f"{job.name}: the connection was lost ({outcome.summary}); trying again")
            await self._gate.recover()

    async def bury(self, death: WorkerDied, job: ReplayJob, *, charged: bool) -> None:
        """End what the worker left on the server, and record its death; raises PoolBroken when too many were `charged`."""
        worker, self._worker = self._worker, None
        assert worker is not None  # noqa: S101 - called only after an attempt with it
        await worker.discard()
        self.deaths += 1
        self._log(logging.ERROR, f"worker {worker.pid} died ({job.name}): {death.kind}: {death.summary}")
        incident = Incident(
            kind=death.kind,
            pid=worker.pid,
            exit_code=death.exit_code,
            partition_key=job.partition.key,
            chunk_no=None,
            attempt=job.attempt,
            summary=f"while dead letters were replayed: {death.summary}",
            stderr_tail=death.stderr_tail,
        )

        async def record(connection: asyncpg.Connection) -> None:
            if worker.session is not None:
                await connection.fetchval(query("terminate_backend"), worker.session.pid, worker.session.started_at)
            await record_incident(connection, incident, load_id=job.load_id, host=self._host, run_id=self._run_id)

        await self._sessions.transaction("record a worker's death", record)
        self._charged_deaths += charged
        respawns_max = self._hello.settings.respawns_max
        if self._charged_deaths > respawns_max:
            raise PoolBroken(
                f"{self.deaths} workers died in this replay, the respawn budget is {respawns_max}; the last one "
                f"{death.summary}. Look at `rowledger incidents --table TABLE`, fix the cause, replay again"
            )

    async def discard(self) -> None:
        """End the worker, if there is one."""
        if self._worker is not None:
            await self._worker.discard()

    async def _living_worker(self) -> WorkerHandle:
        if self._worker is not None and not self._worker.is_running:
            await self._worker.discard()
            self._worker = None
        if self._worker is None:
            try:
                self._worker = await WorkerHandle.start(self._hello, self._log)
            except OSError as error:
                raise PoolBroken(
                    f"a worker could not be started ({type(error).__name__}: {error.strerror}); raise the limit "
                    "(ulimit -n, ulimit -u), then replay again"
                ) from error
        return self._worker
