"""Record incidents in the ledger as they happen, and terminate what a dead worker has left on the server."""

import asyncio
import logging
from collections.abc import Callable

from rowledger.ledger import (
    Holder,
    Incident,
    IncidentKind,
    SupervisorSessions,
    record_incident,
    terminate_backend,
)
from rowledger.postgres import SessionIdentity, summarize
from rowledger.workers.child_process import LogSink
from rowledger.workers.workforce import Work

__all__ = ["IncidentRecorder"]

_PATIENCE_S = 3.0  # recording an incident must delay neither a retry nor the end of a run


class IncidentRecorder:
    """Records the incidents of one run or replay. `told` is called for each, even if the ledger cannot be reached."""

    def __init__(
        self,
        sessions: SupervisorSessions,
        holder: Holder,
        run_id: str | None,
        *,
        log: LogSink,
        told: Callable[[Incident], None] = lambda _incident: None,
    ) -> None:
        self._sessions = sessions
        self._holder = holder.token
        self._run_id = run_id
        self._log = log
        self._told = told
        self._recording: set[asyncio.Task[None]] = set()

    async def record(self, incident: Incident, work: Work | None, session: SessionIdentity | None) -> None:
        """Record an incident, and terminate a dead worker's backend so that its locks are released at once.

        A server that cannot be reached must not keep the job from being retried. The log has the incident in any
        case.
        """
        await self._record(incident, work.load_id if work else None, session)

    async def record_of_load(self, incident: Incident, load_id: int | None) -> None:
        """Record an incident that concerns no worker of this process; of one load, or of the whole run."""
        await self._record(incident, load_id, None)

    async def _record(self, incident: Incident, load_id: int | None, session: SessionIdentity | None) -> None:
        self._told(incident)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                if session is not None:
                    await self._sessions.transaction(
                        "terminate a dead worker's backend",
                        lambda connection: terminate_backend(connection, self._holder, session),
                    )
                await self._sessions.transaction(
                    "record an incident",
                    lambda connection: record_incident(
                        connection,
                        incident,
                        load_id=load_id,
                        run_id=self._run_id,
                    ),
                )
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not fail the job
            lost = f"incident {incident.kind} of pid {incident.pid} on {incident.host} is not in the ledger"
            self._log(logging.WARNING, f"{lost}: {summarize(error)}")

    async def record_of_run(self, kind: IncidentKind, summary: str) -> None:
        """Record an incident that concerns no worker and no load alone."""
        await self._record(Incident.of_run(kind, summary), None, None)

    def outage_ended(self, summary: str) -> None:
        """Record an outage in a separate task, because the outage gate, which calls this, must open at once."""
        self._recording.add(asyncio.create_task(self.record_of_run(IncidentKind.DATABASE_OUTAGE, summary)))

    async def close(self) -> None:
        """Wait, for a bounded time, until all incidents are recorded."""
        await asyncio.gather(*self._recording, return_exceptions=True)
