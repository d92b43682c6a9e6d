"""What is recorded of a host that is lost, cut off or refused, and the end of what it has left on the server."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from rowledger.counted import counted
from rowledger.hosts.messages import WorkerSeen
from rowledger.ledger import Holder, HostSession, Incident, IncidentKind, SupervisorSessions, terminate_host_sessions
from rowledger.machine import Host
from rowledger.postgres import summarize
from rowledger.workers import IncidentRecorder, LogSink

__all__ = ["HostLosses"]

_PATIENCE_S = 5.0  # the sessions of a host that is gone must not keep its chunks from others


class HostLosses:
    """Records for one run what befalls its hosts."""

    def __init__(
        self, sessions: SupervisorSessions, incidents: IncidentRecorder, holder: Holder, *, log: LogSink
    ) -> None:
        self._sessions = sessions
        self._holder = holder.token
        self._incidents = incidents
        self._log = log

    async def lose(self, host: Host, workers: Sequence[WorkerSeen], told: str, agent_pid: int | None) -> None:
        """End the sessions of a lost host, and record an incident a worker.

        Workers are known by the host's last news and by the sessions that were found. Where none is known, the host itself is
        recorded.
        """
        ended = await self._end_sessions(host)
        known = {worker.pid: worker for worker in workers}
        for session in ended:
            if session.pid is not None:
                known.setdefault(session.pid, WorkerSeen(pid=session.pid))
        await asyncio.gather(  # together, because each waits for the ledger for a while where that does not answer
            *(
                self._incidents.record_of_load(_incident(host, worker, IncidentKind.HOST_LOST, told), worker.load_id)
                for worker in known.values()
            )
        )
        if not known:
            await self.note(host, IncidentKind.HOST_LOST, told, agent_pid)

    async def bench(self, host: Host, away: str, agent_pid: int | None) -> None:
        """End the sessions of a host that cannot reach the server while the head can, and record that."""
        ended = await self._end_sessions(host)
        told = (
            f"host {host.name} cannot reach the database ({away}), and the head can: its chunks go to others, "
            f"{counted(sum(session.may_end for session in ended), 'session')} of it ended"
        )
        self._log(logging.WARNING, told)
        await self.note(host, IncidentKind.HOST_BENCHED, told, agent_pid)

    async def note(self, host: Host, kind: IncidentKind, told: str, agent_pid: int | None) -> None:
        """Record an incident of a host as a whole; as the head's own where the agent's pid is not known."""
        incident = Incident.of_run(kind, told)
        if agent_pid is not None:
            incident = replace(incident, pid=agent_pid, host=host.name)
        await self._incidents.record_of_load(incident, None)

    async def _end_sessions(self, host: Host) -> Sequence[HostSession]:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                found = await self._sessions.transaction(
                    f"end the sessions of host {host.name}",
                    lambda connection: terminate_host_sessions(connection, self._holder, host.number),
                )
        except Exception as error:  # noqa: BLE001 - a chunk's next attempt waits for its lock, within its own limits
            self._log(logging.WARNING, f"sessions of host {host.name} could not be ended: {summarize(error)}")
            return ()
        for session in found:
            if not session.may_end:
                self._log(
                    logging.WARNING,
                    f"server process {session.backend_pid} of host {host.name} goes on: it is of role {session.owner}, whose "
                    "sessions this role may not end (grant it pg_signal_backend); chunks that it locks wait for it",
                )
        return found


def _incident(host: Host, worker: WorkerSeen, kind: IncidentKind, told: str) -> Incident:
    return Incident(
        kind=kind,
        pid=worker.pid,
        exit_code=None,
        partition_key=worker.partition_key,
        chunk_no=worker.chunk_no,
        attempt=worker.attempt,
        summary=told,
        host=host.name,
    )
