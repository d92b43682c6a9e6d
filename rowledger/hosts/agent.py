"""The agent of a host: a supervisor with its own workers, outage gate and incidents, told what to do by the head of the run.

It ends its workers when the head has not asked for news for `host_silent_s`: the head has then given their chunks to others.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import UUID, uuid4

from pydantic import BaseModel, SecretStr

from rowledger.counted import counted
from rowledger.errors import DatabaseUnavailable, PoolBroken, RowledgerError, SpecError
from rowledger.hosts.agent_news import AgentNews
from rowledger.hosts.engine import UNOPENED_S
from rowledger.hosts.messages import (
    Close,
    Closed,
    Commit,
    Done,
    IncidentTold,
    Missing,
    News,
    NewsItem,
    Open,
    Opened,
    Poll,
    Raised,
    Refused,
    WorkerSeen,
)
from rowledger.hosts.raised_errors import as_raised
from rowledger.hosts.same_server import is_server_of_run
from rowledger.hosts.sent_files import MissingFile, ReceivedFiles
from rowledger.hosts.versions import code_versions, contract_digest, differences
from rowledger.ledger import Holder, IncidentKind, SupervisorSessions
from rowledger.machine import in_thread, spool_folder
from rowledger.postgres import OutageGate, check_url_shape, may_retry, summarize
from rowledger.settings import secret_from_environment, settings
from rowledger.spec import TableSpec, import_path, modules_behind
from rowledger.workers import Hello, IncidentRecorder, Pool, WorkerAtWork, default_workers, workers_in_memory

__all__ = ["Agent"]

_SHOWN = 5
_FILE_S = 600.0  # to write the files of one chunk, or to fetch one


class Agent:
    """Serves one run. `abandoned` is called once the head has gone silent and all workers have ended."""

    def __init__(self, *, abandoned: Callable[[], None] = lambda: None) -> None:
        self._abandoned = abandoned
        self._work: _Work | None = None
        self._opening = False

    async def wait_to_be_opened(self) -> None:
        """Give up where no head comes for the agent: the run that has started it may have died meanwhile."""
        await asyncio.sleep(UNOPENED_S)
        if not self._opening:
            self._abandoned()

    async def open(self, message: bytes) -> bytes:
        """Begin to work for a run: Opened, or Refused with the reason."""
        if self._opening:
            return _encoded(Refused(pid=os.getpid(), reason="it is at work for a run already"))
        self._opening = True
        silent_s = UNOPENED_S
        try:
            order = Open.model_validate_json(message)
            silent_s = order.silent_s
            work = await _Work.begun(order, self._abandoned)
        except Exception as error:  # noqa: BLE001 - whatever the user's modules raise: the host cannot work then
            reason = str(error) if isinstance(error, RowledgerError) else summarize(error)
            may_pass = isinstance(error, DatabaseUnavailable) and may_retry(error)
            self._leave_after(silent_s)
            return _encoded(Refused(pid=os.getpid(), reason=reason, may_pass=may_pass))
        self._work = work
        return _encoded(work.opened)

    async def commit(self, message: bytes, files: bytes) -> bytes:
        """Have a chunk committed: Done, Missing or Raised."""
        return _encoded(await self._at_work.commit(Commit.model_validate_json(message), files))

    async def news(self, message: bytes) -> bytes:
        """News, as soon as there is something new."""
        return _encoded(await self._at_work.news(Poll.model_validate_json(message)))

    async def close(self, message: bytes) -> bytes:
        """End all workers: Closed, with the last news."""
        work = self._at_work
        try:
            return _encoded(await work.close(Close.model_validate_json(message)))
        finally:
            self._leave_after(work.silent_s)

    def _leave_after(self, silent_s: float) -> None:
        """Have the process end itself where the head, which ends it after this answer, is gone or cannot reach it."""
        asyncio.get_running_loop().call_later(silent_s, self._abandoned)

    @property
    def _at_work(self) -> "_Work":
        if self._work is None:
            raise RuntimeError("the agent was not opened")
        return self._work


class _Work:
    """What the agent has while it works for a run."""

    def __init__(self, order: Open, url: str, opened: Opened, abandoned: Callable[[], None]) -> None:
        self.opened = opened
        self.silent_s = order.silent_s
        self._abandoned = abandoned
        self._news = news = AgentNews()
        self._ending = contextlib.AsyncExitStack()
        self._pool_ending = contextlib.AsyncExitStack()
        self._heard = asyncio.Event()
        self._requests: set[int] = set()
        self._workers = opened.workers
        self._respawns_max = order.settings.respawns_max
        limits = order.settings.model_copy(update={"workers": opened.workers})
        holder = Holder(UUID(order.holder), os.getpid(), order.host)
        self._gate = OutageGate(url, limits, log=news.log, ended=self._outage_ended)
        self._sessions = SupervisorSessions(url, limits, size=1, holder=holder, gate=self._gate, log=news.log)
        self._incidents = IncidentRecorder(
            self._sessions, holder, order.run_id, log=news.log, told=lambda one: news.tell(IncidentTold(incident=one))
        )
        hello = Hello(
            url=SecretStr(url),
            spec=order.spec,
            path=tuple(import_path()),
            settings=limits,
            holder=order.holder,
            host=order.host,
        )
        self._pool = Pool(
            hello,
            gate=self._gate,
            notice=self._incidents.record,
            log=news.log,
            jobs_expected=opened.workers,
            assigned=news.wake,
        )
        self._files = ReceivedFiles(self._folder)
        self._making_folder = threading.Lock()
        self._made_folder: Path | None = None
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def begun(cls, order: Open, abandoned: Callable[[], None]) -> "_Work":
        """Judge whether this host can work for the run, and start its workers. Raises what the reason for a refusal is."""
        if different := differences(order.versions, code_versions()):
            raise SpecError(f"it runs other code than the head: {different}; install the same there")
        _import_from_too(order.path)
        spec = TableSpec.from_json(order.spec)
        if contract_digest(spec) != order.contract:
            raise SpecError(
                f"table {spec.name}: its row model or transform is another one there; have the same code on all hosts"
            )
        if changed := await _changed_modules(spec, order.modules):
            shown = ", ".join(changed[:_SHOWN]) + (
                f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            )
            raise SpecError(
                f"table {spec.name}: other code there in {counted(len(changed), 'module')}: {shown}; have the same on all hosts"
            )
        url = _own_url(order.url_variable)
        if not await is_server_of_run(url, order.holder, order.settings):
            raise DatabaseUnavailable(
                f"its {order.url_variable} leads to another server or database than the head's: the run has no session there"
            )
        workers_max, limited = _carried(order)
        workers = min(workers_max, order.workers_first)
        opened = Opened(pid=os.getpid(), workers=workers, workers_max=workers_max, limited=limited)
        work = cls(order, url, opened, abandoned)
        await work._start()
        return work

    async def _start(self) -> None:
        self._ending.push_async_callback(self._gate.close)
        self._ending.push_async_callback(self._sessions.close)
        self._ending.push_async_callback(self._incidents.close)
        await self._pool_ending.enter_async_context(self._pool)
        self._watching = asyncio.create_task(self._watch())

    async def commit(self, request: Commit, content: bytes) -> Done | Missing | Raised:
        passing: list[Path] = []
        self._requests.add(request.number)
        try:
            job, passing = await in_thread(
                lambda: self._files.unpack(request.job, request.files, content), timeout_s=_FILE_S
            )
            return Done(outcome=await self._pool.commit(job))
        except MissingFile as missing:
            return Missing(name=missing.name, reason=missing.reason)
        except Exception as error:  # noqa: BLE001 - every error belongs to the head, which waits for this chunk
            # Beside the deaths of its workers, which the run's budget counts, it breaks for want of descriptors or processes.
            is_broken = isinstance(error, PoolBroken) and self._pool.charged_deaths <= self._respawns_max
            return as_raised(error, of_host=is_broken)
        finally:
            self._requests.discard(request.number)
            for file in passing:
                file.unlink(missing_ok=True)

    async def news(self, poll: Poll) -> News:
        self._heard.set()
        if poll.workers != self._workers:
            self._workers = poll.workers
            self._pool.resize(poll.workers)
        items, last = await self._news.after(poll.seen, poll.wait_s)
        self._heard.set()
        return self._seen(items, last)

    def _seen(self, items: tuple[NewsItem, ...], last: int) -> News:
        pool = self._pool
        return News(
            items=items,
            last=last,
            away=self._gate.away,
            requests=tuple(self._requests),
            workers=tuple(map(_seen_worker, pool.workers_at_work())),
            charged_deaths=pool.charged_deaths,
            peak_rss_bytes=pool.peak_rss_bytes,
        )

    async def close(self, order: Close) -> Closed:
        await self._end(at_once=order.at_once)
        items, last = await self._news.after(order.seen, 0)
        return Closed(news=self._seen(items, last))

    async def _end(self, *, at_once: bool) -> None:
        if self._watching is not None and self._watching is not asyncio.current_task():
            self._watching.cancel()
        cause = PoolBroken("the agent ends") if at_once else None
        await self._pool_ending.__aexit__(type(cause) if cause else None, cause, None)
        await self._ending.aclose()

    async def _watch(self) -> None:
        """End everything once the head has been silent for too long."""
        with contextlib.suppress(TimeoutError):
            while True:
                self._heard.clear()
                async with asyncio.timeout(self.silent_s):
                    await self._heard.wait()
        with contextlib.suppress(Exception):
            await self._end(at_once=True)
        self._abandoned()

    def _outage_ended(self, told: str) -> None:
        self._incidents.outage_ended(told)  # made after the gate, since it needs it

    def _folder(self) -> Path:
        """The folder for copies of the head's files, made when the first of them comes. Threads ask for it."""
        with self._making_folder:
            if self._made_folder is None:
                self._made_folder = self._ending.enter_context(spool_folder(settings().spool_dir, uuid4().hex))
            return self._made_folder


def _seen_worker(worker: WorkerAtWork) -> WorkerSeen:
    work = worker.work
    return WorkerSeen(
        pid=worker.pid,
        partition_key=work.partition_key if work else None,
        chunk_no=work.chunk_no if work else None,
        attempt=work.attempt if work else 0,
        load_id=work.load_id if work else None,
    )


def _carried(order: Open) -> tuple[int, tuple[tuple[IncidentKind, str], ...]]:
    """How many workers this host can have by its own CPUs and memory, and why these are fewer than asked for."""
    limits = order.settings
    wanted = limits.workers or default_workers()
    carried = workers_in_memory(limits)
    limited: list[tuple[IncidentKind, str]] = []
    if carried < wanted:
        told = f"host {order.host.name}: {carried} workers instead of {wanted}: memory carries no more"
        limited.append((IncidentKind.WORKERS_LIMITED, told))
    return max(1, min(wanted, carried)), tuple(limited)


async def _changed_modules(spec: TableSpec, of_head: Mapping[str, str]) -> list[str]:
    """The user's modules that are other ones here than on the head's machine. What only one of them has does not count."""
    found = await in_thread(lambda: modules_behind(spec, also=of_head), timeout_s=_FILE_S)
    return sorted(name for name, digest in of_head.items() if found.get(name, digest) != digest)


def _import_from_too(folders: Sequence[str]) -> None:
    """Search the head's folders too, after this host's own, where they are here as well."""
    sys.path.extend(folder for folder in folders if folder not in sys.path and Path(folder).is_dir())


def _own_url(variable: str) -> str:
    url = secret_from_environment(variable)
    if url is None:
        raise DatabaseUnavailable(
            f"{variable} is not set there; set it to the target's URL in the environment in which the engine was started"
        )
    check_url_shape(url.get_secret_value(), variable=variable)
    return url.get_secret_value()


def _encoded(message: BaseModel) -> bytes:
    return message.model_dump_json().encode()
