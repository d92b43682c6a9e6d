"""The supervisor's sessions: how many are open while a run may have fewer, or more."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

from pipeline_tests.support.database import sessions
from pipeline_tests.support.waiting import wait_until
from rowledger.ledger.loads import Holder
from rowledger.ledger.sessions import SupervisorSessions
from rowledger.postgres.outage import OutageGate
from rowledger.settings import WriterSettings


def _run(database: str, story: Callable[[SupervisorSessions], Awaitable[None]], **options: int) -> None:
    limits = WriterSettings(lease_s=300)  # so that the server lets transactions of the test wait

    async def run() -> None:
        gate = OutageGate(database, limits, log=lambda *_: None, ended=lambda _: None)
        own = SupervisorSessions(
            database, limits, holder=Holder.this_process(), gate=gate, log=lambda *_: None, **options
        )
        try:
            async with asyncio.timeout(60):
                await story(own)
        finally:
            await own.close()
            await gate.close()

    asyncio.run(run())


class _Work:
    """Pieces of work, each in a session of its own until it is ended."""

    def __init__(self, own: SupervisorSessions) -> None:
        self._own = own
        self._ends: list[asyncio.Event] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, *, waits: bool = False) -> None:
        """Begin a piece of work, and return when it has its session, or at once where it must wait for one."""
        begun, end = asyncio.Event(), asyncio.Event()

        async def work(_connection: asyncpg.Connection) -> None:
            begun.set()
            await end.wait()

        self._ends.append(end)
        self._tasks.append(asyncio.create_task(self._own.transaction("a test", work)))
        if not waits:
            await begun.wait()

    async def end(self, number: int) -> None:
        self._ends[number].set()
        await self._tasks[number]


async def _open(database: str, count: int) -> None:
    await asyncio.to_thread(wait_until, lambda: len(sessions(database)) == count, f"{count} sessions are open")


def test_a_session_too_many_closes_after_its_work_and_not_before(database: str) -> None:
    async def story(own: SupervisorSessions) -> None:
        work = _Work(own)
        await work.begin()
        await work.begin()
        await own.resize(1)
        await _open(database, 2)
        await work.end(0)
        await _open(database, 1)
        await work.begin(waits=True)
        await work.end(1)
        await work.end(2)
        await _open(database, 1)

    _run(database, story, size=2)


def test_sessions_that_are_idle_close_at_once_and_more_may_be_opened_later(database: str) -> None:
    async def story(own: SupervisorSessions) -> None:
        work = _Work(own)
        for _ in range(3):
            await work.begin()
        for number in range(3):
            await work.end(number)
        await _open(database, 3)
        await own.resize(1)
        await _open(database, 1)
        await own.resize(2)
        await work.begin()
        await work.begin()
        await _open(database, 2)
        await work.end(3)
        await work.end(4)

    _run(database, story, size=3)


def test_of_the_sessions_that_watch_only_the_oldest_stays_open(database: str) -> None:
    async def backend(own: SupervisorSessions) -> int:
        return int(await own.alone(lambda connection: connection.fetchval("select pg_backend_pid()"), time_s=20))

    async def story(own: SupervisorSessions) -> None:
        oldest = await backend(own)
        work = _Work(own)
        await work.begin()
        assert await backend(own) != oldest
        await work.end(0)
        await _open(database, 1)
        assert await backend(own) == oldest

    _run(database, story, size=2, kept=1)
