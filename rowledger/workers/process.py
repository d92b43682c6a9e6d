"""The worker process: one connection, one chunk at a time, an outcome for each.

Started as `python -m rowledger.workers.process FD PARENT`: FD is its end of a socket pair, PARENT the supervisor's
pid. It ends with its supervisor, by the end of that socket, by PR_SET_PDEATHSIG where the system has it, and by a
check of its parent.
"""

import gc

if __name__ == "__main__":
    gc.disable()  # until all is imported: none of it is garbage, and collections would take a tenth of a worker's start

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
import traceback
from collections.abc import AsyncIterator
from typing import TypeAlias, assert_never

import psutil

from rowledger import chunk
from rowledger.chunk import ChunkJob, Job, PlanJob, ReplayJob, commit_chunk, prepare_chunk
from rowledger.errors import DeadLetterBudgetSpent, Fenced, RowledgerError, SourceError, SpecError
from rowledger.failpoints import Place, failpoint
from rowledger.ledger import (
    AlreadyCommitted,
    ChunkOutcome,
    Committed,
    Failed,
    FailureKind,
    Planned,
    Probed,
    Replayed,
    SourceRaised,
)
from rowledger.machine import OwnProcess, ProcessIdentity, in_thread
from rowledger.postgres import (
    DeadlineExpired,
    Session,
    StatementStalled,
    connect,
    deadline,
    is_connection_lost,
    may_retry,
    retrying,
    root_cause,
    session_name,
    sqlstate_of,
    stalls_cancelled,
    summarize,
    tell_without_text,
)
from rowledger.spec import TableSpec
from rowledger.workers.child import begin_under, end, frames_of, raised, read_spec, relay_log, summary_of
from rowledger.workers.messages import (
    LINE_BYTES_MAX,
    Assign,
    FromWorker,
    Heartbeat,
    Hello,
    LogLine,
    Outcome,
    Ready,
    Stop,
    ToWorker,
    decode_to_worker,
    encode,
)

_log = logging.getLogger("rowledger.worker")
_Success: TypeAlias = Committed | AlreadyCommitted | Planned | SourceRaised | Probed | Replayed


class _Worker:
    """State of the process: its channel, its session, its progress."""

    def __init__(self, hello: Hello, writer: asyncio.StreamWriter) -> None:
        self._spec = read_spec(hello.spec, hello.path)
        self._hello = hello
        self._settings = hello.settings
        self._writer = writer
        self._session: Session | None = None
        self._opening = asyncio.Lock()
        self._progress = 0
        self._retries = 0
        self._process = psutil.Process()
        self._beaten_at = time.monotonic()
        self._own = OwnProcess()

    def send(self, message: FromWorker) -> None:
        self._own.end_others()
        self._writer.write(encode(message))

    def advance(self, amount: int) -> None:
        """Count progress; the supervisor kills a worker whose count stands still.

        Work on columns keeps the event loop from sending heartbeats, so a heartbeat that is due is sent from here.
        """
        self._own.end_others()  # before it writes rows over the session of the process that a transform has forked
        self._progress += amount
        if time.monotonic() - self._beaten_at > self._settings.heartbeat_s:
            self.beat()

    def beat(self) -> None:
        """Send one heartbeat."""
        self._beaten_at = time.monotonic()
        rss = self._process.memory_info().rss
        self.send(Heartbeat(progress=self._progress, rss_bytes=rss, descriptors=self._process.num_fds()))

    async def heartbeats(self) -> None:
        """Send heartbeats until cancelled."""
        while True:
            failpoint(Place.IN_HEARTBEAT)
            self.beat()
            await asyncio.sleep(self._settings.heartbeat_s)

    async def open(self) -> Session:
        """The session, which is opened if necessary."""
        async with self._opening:
            if self._session is None or self._session.connection.is_closed():
                self._session = await connect(
                    self._hello.url.get_secret_value(),
                    application_name=session_name(
                        "worker", self._hello.holder, pid=os.getpid(), host_no=self._hello.host.number
                    ),
                    timeout_s=self._settings.connect_timeout_s,
                )
                identity = self._session.identity
                self.send(Ready(backend_pid=identity.pid, backend_start=identity.started_at))
            return self._session

    async def open_early(self) -> None:
        """Open the session before a chunk needs it. If that fails, the chunk's own attempt says why."""
        with contextlib.suppress(RowledgerError):
            await self.open()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def run(self, job: Job | PlanJob) -> ChunkOutcome:
        """Run the whole transaction, and retry it after a conflict. Each attempt reads the source again.

        The supervisor handles a lost connection, because it knows whether the server answers at all.
        """
        self._retries = 0
        policy = retrying(self._settings, on_retry=self._before_retry, retry_if=_is_conflict)
        try:
            outcome: _Success = await policy(self._attempt, job)
        except Exception as error:  # noqa: BLE001 - the worker's outermost frame: every error becomes an outcome
            return self._failed(error)
        return outcome.model_copy(update={"retries": self._retries})

    async def _attempt(self, job: Job | PlanJob) -> "_Success":
        match job:
            case PlanJob():
                return await self._plan(job)
            case ReplayJob():
                return await self._replay(self._usable_spec(), job)
            case ChunkJob():
                return await self._commit(self._usable_spec(), job)
            case _:
                assert_never(job)

    def _usable_spec(self) -> TableSpec:
        if isinstance(self._spec, SpecError):
            raise self._spec
        return self._spec

    async def _plan(self, job: PlanJob) -> Planned | SourceRaised:
        """Plan in a thread: a source may hang, and heartbeats must go out meanwhile."""
        limit_s = self._settings.planning_timeout_s
        try:
            # Through its package, which imports it only now: most workers never plan.
            return await in_thread(lambda: chunk.plan_partition(self._usable_spec(), job), timeout_s=limit_s)
        except TimeoutError:
            told = f"the source could not be planned within {limit_s:g} s (planning_timeout_s)"
            return SourceRaised(error="SourceError", summary=f"{told}; see whether its files can be read, then rerun")
        except Exception as error:  # noqa: BLE001 - whatever the source raises is its partition's failure
            return raised(error)

    async def _commit(self, spec: TableSpec, job: ChunkJob) -> Committed | AlreadyCommitted | Probed:
        prepared = prepare_chunk(spec, job, self._settings, self.advance)
        await asyncio.sleep(0)  # lets a heartbeat out between encoding and sending
        async with self._working_session() as session:
            return await commit_chunk(
                session,
                prepared,
                job,
                self._settings,
                worker=ProcessIdentity.this(self._hello.host),
                on_progress=self.advance,
            )

    async def _replay(self, spec: TableSpec, job: ReplayJob) -> Replayed:
        async with self._working_session() as session:
            # Through its package, which imports it only now: loads do not need it.
            return await chunk.replay_dead_letters(session, spec, job, self._settings, on_progress=self.advance)

    @contextlib.asynccontextmanager
    async def _working_session(self) -> AsyncIterator[Session]:
        """The session for one transaction, within deadline and stall timeout; cut when the transaction does not end well."""
        session, settings = await self.open(), self._settings
        url = self._hello.url.get_secret_value()
        try:
            async with (
                deadline(session, settings.chunk_deadline_s),
                stalls_cancelled(url, session, lambda: self._progress, settings.stall_timeout_s),
            ):
                yield session
        except BaseException:
            # The state of the transaction is unknown: cutting the connection makes the server roll back.
            session.connection.terminate()
            self._session = None
            raise

    def _before_retry(self, error: BaseException) -> None:
        self._retries += 1
        self.advance(1)  # waiting for the holder of a lock is not a stall: the retry budget bounds it
        _log.warning("attempt failed, retrying: %s", summary_of(error))

    def _failed(self, error: Exception) -> Failed:
        match error:
            case Fenced():
                failure = FailureKind.FENCED
            case SourceError():
                failure = FailureKind.SOURCE
            case DeadLetterBudgetSpent():
                failure = FailureKind.BUDGET
            case DeadlineExpired():
                failure = FailureKind.TIMED_OUT
            case StatementStalled():
                failure = FailureKind.STALLED
            case _ if is_connection_lost(error):
                failure = FailureKind.CONNECTION_LOST
            case _ if may_retry(error):
                failure = FailureKind.TRANSIENT
            case _:
                failure = FailureKind.FATAL
        return Failed(
            failure=failure,
            summary=summary_of(error),
            sqlstate=sqlstate_of(root_cause(error)),
            traceback=frames_of(error),
            refused_rows=error.refused_rows if isinstance(error, DeadLetterBudgetSpent) else None,
            retries=self._retries,
        )


def _is_conflict(error: BaseException) -> bool:
    """Whether the server answers and the same transaction may succeed later."""
    return may_retry(error) and not is_connection_lost(error)


async def _main(channel: socket.socket) -> None:
    asyncio.get_running_loop().set_exception_handler(tell_without_text)
    reader, writer = await asyncio.open_connection(sock=channel, limit=LINE_BYTES_MAX)
    if not (line := await reader.readline()):
        return  # started early, and not needed
    hello = decode_to_worker(line)
    assert isinstance(hello, Hello)  # noqa: S101 - the protocol's first message
    worker = _Worker(hello, writer)
    relay_log(lambda level, text: worker.send(LogLine(level=level, text=text)))
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of each write to a closed connection
    beating = asyncio.create_task(worker.heartbeats())
    beating.add_done_callback(_die_without_a_pulse)
    listening = asyncio.create_task(_listen(reader))
    gc.freeze()  # what is imported by now, including the spec's module, stays: no collection needs to look at it again
    gc.enable()
    opening = asyncio.create_task(worker.open_early())  # while the supervisor, or this worker, plans
    try:
        while True:
            message = await listening
            match message:
                case Assign(job=job):
                    listening = asyncio.create_task(_listen(reader))
                    working = asyncio.create_task(worker.run(job))
                    await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
                    if not working.done() and listening.result() is None:
                        os._exit(1)  # the supervisor is gone: what has not committed must not commit any more
                    outcome = await working
                    failpoint(Place.WHILE_REPORTING, **job.facts)
                    worker.beat()  # before the outcome, so that a replacement that is due is not one chunk late
                    worker.send(Outcome(outcome=outcome))
                    await writer.drain()
                case Stop() | None:
                    return
                case Hello():
                    raise RuntimeError("a second hello")
    finally:
        beating.cancel()
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await worker.close()


def _die_without_a_pulse(beating: asyncio.Task[None]) -> None:
    """End a worker that can no longer send heartbeats, so that its death is noticed before it counts as a stall."""
    if not beating.cancelled() and (error := beating.exception()) is not None:
        traceback.print_tb(error.__traceback__)
        print(summarize(error), file=sys.stderr, flush=True)  # noqa: T201 - the supervisor reads it
        os._exit(1)


async def _listen(reader: asyncio.StreamReader) -> ToWorker | None:
    """The next message; None at the end of the channel."""
    line = await reader.readline()
    return decode_to_worker(line) if line.endswith(b"\n") else None


def main() -> None:
    """Entry point of the process."""
    channel_fd, parent_pid = map(int, sys.argv[1:3])
    begin_under(parent_pid)
    asyncio.run(_main(socket.socket(fileno=channel_fd)))
    end()


if __name__ == "__main__":
    main()
