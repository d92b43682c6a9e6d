"""What a run does besides loading: keep its leases, bury its dead workers, say how far it is."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

from rowledger.ledger import (
    AlreadyCommitted,
    ChunkTotals,
    Committed,
    Holder,
    Incident,
    IncidentKind,
    Observer,
    Progress,
    RowCounts,
    SupervisorSessions,
    record_incident,
)
from rowledger.postgres import OutageGate, SessionIdentity, query, summarize
from rowledger.settings import WriterSettings
from rowledger.workers import Job

__all__ = ["PartitionProgress", "Upkeep"]

_PROGRESS_INTERVAL_S = 1.0
_PATIENCE_S = 3.0  # what is done here must hold up neither a retry nor the end of a run
_SESSIONS = 2


@dataclass(slots=True)
class PartitionProgress:
    """How far one partition has come while it loads, from workers' reports: for figures, not for verdicts.

    `enqueued_rows` are those of all its chunks, `committed` the counts of the chunks that have committed.
    """

    enqueued_rows: int = 0
    committed: RowCounts = field(default_factory=RowCounts)
    discarded_values: int = 0
    chunks: int = 0
    retries: int = 0
    done: bool = False
    incidents: list[Incident] = field(default_factory=list)

    @property
    def counts(self) -> RowCounts:
        """What became of the partition's rows so far."""
        return replace(self.committed, enqueued_rows=self.enqueued_rows)

    def add(self, outcome: Committed | AlreadyCommitted) -> None:
        """Count a chunk that has committed."""
        self.committed += outcome.counts
        self.discarded_values += outcome.discarded_values

    def reset(self) -> None:
        """Count no chunk as committed."""
        self.committed, self.discarded_values = RowCounts(), 0

    def set(self, totals: ChunkTotals) -> None:
        """Count what the ledger has."""
        self.committed, self.discarded_values = totals.counts, totals.discarded_values


class Upkeep:
    """The watchers of one run, on sessions of their own: a long reconcile must not keep a lease from being renewed."""

    def __init__(
        self,
        url: str,
        writer: WriterSettings,
        holder: Holder,
        run_id: str | None,
        observer: Observer,
        progress: Mapping[str, PartitionProgress],
    ) -> None:
        self.gate = OutageGate(url, writer, log=observer.log, ended=self._outage_ended)
        self._holder = holder
        self._writer = writer
        self._run_id = run_id
        self._observer = observer
        self._progress = progress
        self._noticing: set[asyncio.Task[None]] = set()
        self._started = time.monotonic()
        self._sessions = SupervisorSessions(
            url, writer, size=_SESSIONS, holder=holder, gate=self.gate, log=observer.log
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep leases and report progress for as long as the block runs; behind it, let the next run begin at once."""
        watchers = [asyncio.create_task(self._keep_leases()), asyncio.create_task(self._report_progress())]
        try:
            yield
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, *self._noticing, return_exceptions=True)
            await self._release_leases()
            await self._sessions.close()
            await self.gate.close()
            self._say_progress()

    async def notice(self, incident: Incident, job: Job | None, session: SessionIdentity | None) -> None:
        """Record an incident; end a dead worker's backend, so that its locks go at once.

        A server that is out of reach must not keep the chunk from being tried again: the incident is in the run's log and
        metadata in any case.
        """
        first = next(iter(self._progress))  # what concerns the run as a whole counts with its first partition
        self._progress[job.partition_key if job else first].incidents.append(incident)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                if session is not None:
                    await self._sessions.transaction(
                        "terminate a dead worker's backend",
                        lambda connection: connection.fetchval(
                            query("terminate_backend"), session.pid, session.started_at
                        ),
                    )
                await self._sessions.transaction(
                    "record an incident",
                    lambda connection: record_incident(
                        connection,
                        incident,
                        load_id=job.load_id if job else None,
                        host=self._holder.host,
                        run_id=self._run_id,
                    ),
                )
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not the chunk's fault
            self._warn(f"incident {incident.kind} of pid {incident.pid} is not in the ledger", error)

    async def notice_of_run(self, kind: IncidentKind, summary: str) -> None:
        """Record an incident that concerns no worker."""
        await self.notice(Incident.of_run(kind, summary), None, None)

    def _outage_ended(self, summary: str) -> None:
        self._noticing.add(asyncio.create_task(self.notice_of_run(IncidentKind.DATABASE_OUTAGE, summary)))

    async def _keep_leases(self) -> None:
        """Tell other runs, as long as we live, that our loads are being worked on."""
        while True:
            await asyncio.sleep(self._writer.lease_s / 4)
            try:
                await self._sessions.transaction(
                    "renew leases",
                    lambda connection: connection.execute(query("renew_leases"), self._holder.token),
                )
            except Exception as error:  # noqa: BLE001 - a lost lease costs a rival's wait, not a row: the epoch guards those
                self._warn("leases could not be renewed", error)

    async def _release_leases(self) -> None:
        """Give all leases back; where that fails, the next run waits until they lapse."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._sessions.transaction(
                    "release leases",
                    lambda connection: connection.execute(query("release_leases"), self._holder.token),
                )
        except Exception as error:  # noqa: BLE001 - the run's own outcome must not be hidden by this
            self._warn("leases could not be released", error)

    async def _report_progress(self) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_INTERVAL_S)
            self._say_progress()

    def _say_progress(self) -> None:
        partitions = self._progress.values()
        counts = sum((partition.counts for partition in partitions), RowCounts())
        elapsed_s = time.monotonic() - self._started
        self._observer.progress(
            Progress(
                counts,
                rows_per_second=counts.written_rows / elapsed_s if elapsed_s > 0 else 0.0,
                partitions_done=sum(partition.done for partition in partitions),
                partitions=len(partitions),
            )
        )

    def _warn(self, what: str, error: Exception) -> None:
        self._observer.log(logging.WARNING, f"{what}: {summarize(error)}")
