"""The chunks of a run that wait for a host, or for a host's answer.

A lane takes one after the other and has it committed on its host. What is unanswered when the lane ends goes back into the
queue: the fence and the claim settle what became of it.
"""

import asyncio
from dataclasses import dataclass, field

from rowledger.chunk import ChunkJob
from rowledger.counted import counted
from rowledger.errors import DatabaseUnavailable, HostsUnavailable, PoolBroken, RowledgerError, WriterClosed
from rowledger.hosts.engine import HostGone
from rowledger.hosts.remote_host import RemoteHost
from rowledger.ledger import ChunkOutcome
from rowledger.postgres import OutageGate
from rowledger.settings import WriterSettings
from rowledger.workers import JobQueue

__all__ = ["ChunkRequests"]

_AGAIN, _IN_TURN = 0, 1  # a chunk whose host was lost comes first


@dataclass(eq=False, slots=True)
class _Request:
    """A chunk that waits for its outcome, and the ends of the hosts that were lost with it."""

    job: ChunkJob
    answered: "asyncio.Future[ChunkOutcome]"
    losses: list[str] = field(default_factory=list)

    def succeed(self, outcome: ChunkOutcome) -> None:
        if not self.answered.done():  # its load may have failed, or was cancelled
            self.answered.set_result(outcome)

    def fail(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


@dataclass(eq=False, slots=True)
class _Lane:
    """One of the chunks that a host can have at once."""

    is_up: bool = True


class ChunkRequests:
    """The queue. Once it is broken, all chunks fail, those to come among them."""

    def __init__(self, limits: WriterSettings, gate: OutageGate) -> None:
        self._limits = limits
        self._gate = gate
        self._queue: JobQueue[_Request] = JobQueue()
        self._unanswered: set[_Request] = set()
        self.broken: RowledgerError | None = None

    async def commit(self, job: ChunkJob) -> ChunkOutcome:
        """Have a chunk committed by some host; raises what its pool raises, and what the queue was broken with."""
        if self.broken is not None:
            raise self.broken
        request = _Request(job, asyncio.get_running_loop().create_future())
        self._unanswered.add(request)
        self._queue.put(request, _IN_TURN)
        try:
            return await request.answered
        finally:
            self._unanswered.discard(request)

    def break_with(self, error: RowledgerError) -> None:
        """Fail all chunks with this error, unless another one came before."""
        self.broken = self.broken or error
        for request in self._unanswered:
            request.fail(self.broken)

    def cancel(self) -> None:
        """Cancel all chunks that wait; no lane is left."""
        for request in self._queue.drain():
            request.answered.cancel()

    async def server_answers(self) -> bool:
        """Whether the head reaches the server. Waits while it does not; where it gives up, so does the run."""
        try:
            await self._gate.recover()
        except DatabaseUnavailable as error:
            self.break_with(error)
            return False
        return True

    async def run_lane(self, remote: RemoteHost) -> None:
        """Have one chunk after another committed there, until the host has more lanes than workers; raises HostGone.

        A cancel puts the chunk back into the queue.
        """
        lane = _Lane()
        remote.lanes += 1
        try:
            while True:
                request = await self._queue.take(lane)
                if request is None or request.answered.done():  # its load has failed or was cancelled meanwhile
                    continue
                if remote.lanes > remote.workers:
                    self._queue.put(request, _AGAIN)
                    return
                try:
                    await self._have_committed(remote, request)
                except BaseException:
                    if not request.answered.done():
                        request.job = request.job.numbered(request.job.attempt + 1)
                        self._queue.put(request, _AGAIN)
                    raise
        finally:
            remote.lanes -= 1

    async def _have_committed(self, remote: RemoteHost, request: _Request) -> None:
        """One chunk on one host; raises HostGone where the host is what has failed."""
        try:
            request.succeed(await remote.commit(request.job))
        except HostGone as gone:
            request.losses.append(f"host {remote.host.name} {gone}")
            if len(request.losses) >= self._limits.chunk_attempts_max:
                request.fail(
                    HostsUnavailable(
                        f"{request.job.name}: {counted(len(request.losses), 'host')} lost while it was at work there, the last "
                        f"one: {request.losses[-1]}; {request.job.resumption}"
                    )
                )
            raise
        except DatabaseUnavailable as error:
            if await self.server_answers():
                raise HostGone(f"gave up on the database, which answers the head: {error}") from None
        except WriterClosed:
            raise HostGone("has ended its workers, since it had not heard of its head") from None
        except PoolBroken as error:
            self.break_with(PoolBroken(f"host {remote.host.name}: {error}"))
        except Exception as error:  # noqa: BLE001 - every other error belongs to the caller that waits for this chunk
            request.fail(error)
