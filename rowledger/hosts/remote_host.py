"""The head's end of one host: its calls, its news, and what of its work is unanswered."""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from pathlib import Path

from rowledger.chunk import ChunkJob
from rowledger.hosts.engine import AgentHandle, AgentUnable, HostGone
from rowledger.hosts.messages import (
    Close,
    Closed,
    Commit,
    Done,
    IncidentTold,
    Missing,
    News,
    Open,
    Opened,
    Poll,
    Raised,
    decode_answer,
    decode_open_answer,
)
from rowledger.hosts.raised_errors import as_error
from rowledger.hosts.sent_files import pack
from rowledger.ledger import ChunkOutcome, Failed, FailureKind, Incident
from rowledger.machine import Host, in_thread
from rowledger.settings import WriterSettings
from rowledger.workers import LogLine

__all__ = ["HostRefused", "RemoteHost"]

_READ_S = 600.0  # to read a chunk's spooled files
_POLLS_PER_SILENCE = 4
_LOOK_S = 0.5
_RESENDINGS_MAX = 3  # of a chunk whose files do not arrive as they are
_OF_A_HOST = {FailureKind.SOURCE, FailureKind.FATAL}  # another host may see other files, or have a full disk


class HostRefused(Exception):
    """The host cannot work for this run; `pid` is its agent's, None where it has none. What `may_pass` is worth another try."""

    def __init__(self, reason: str, *, pid: int | None, may_pass: bool = False) -> None:
        super().__init__(reason)
        self.pid = pid
        self.may_pass = may_pass


class RemoteHost:
    """A host with an agent for this run."""

    def __init__(self, host: Host, agent: AgentHandle, limits: WriterSettings, spool_dir: Path) -> None:
        self.host = host
        self.news = News()
        self.workers_max = 0
        """As many as it can have."""
        self.workers = 0
        """As many as it may have now."""
        self.lanes = 0
        """Those that run: chunks that it is given at once. One too many ends when it next takes a chunk."""
        self.pid: int | None = None
        """The agent's, once it is known."""
        self.may_work = asyncio.Event()
        """Set while it can reach the database."""
        self._agent = agent
        self._silent_s = limits.host_silent_s
        self._forgotten_s = limits.chunk_deadline_s
        self._spool_dir = spool_dir
        self._numbers = itertools.count()
        self._sending_whole = asyncio.Lock()
        self._sent_whole: set[str] = set()
        # Requests without an answer, of which the host has told nothing lately.
        self._unseen_since: dict[int, float] = {}

    async def open(self, order: Open, timeout_s: float) -> Opened:
        """Have it begin; raises HostRefused, and HostGone where it gives no answer in time."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = decode_open_answer(await self._agent.call("open", _encoded(order)))
        except TimeoutError:
            raise HostGone(f"gave no answer within {timeout_s:g} s") from None
        except AgentUnable as unable:
            raise HostRefused(str(unable), pid=None) from None
        if not isinstance(answer, Opened):
            raise HostRefused(answer.reason, pid=answer.pid, may_pass=answer.may_pass)
        self.workers, self.workers_max = answer.workers, answer.workers_max
        self.pid = answer.pid
        return answer

    async def commit(self, job: ChunkJob) -> ChunkOutcome:
        """Have a chunk committed there; raises HostGone, and what its pool raises."""
        answer = await self._send(job, sent_whole=False)
        if isinstance(answer, Missing):
            async with self._sending_whole:  # what the first chunk brings, the others find there
                answer = await self._send_again(job, answer)
        match answer:
            case Done(outcome=Failed(failure=failure) as failed) if failure in _OF_A_HOST:
                return failed.model_copy(update={"summary": f"on host {self.host.name}: {failed.summary}"})
            case Done():
                return answer.outcome
            case Raised(of_host=True):
                raise HostGone(f"cannot go on: {answer.summary}")
            case Raised():
                raise as_error(answer, self.host.name)
            case Missing():
                raise HostGone(f"asks for {answer.name}, which it was sent: {answer.reason}")

    async def _send_again(self, job: ChunkJob, answer: Done | Missing | Raised) -> Done | Missing | Raised:
        """Send a job with the files that were missing, or damaged, until they have arrived; not for ever."""
        for _ in range(_RESENDINGS_MAX):
            if not isinstance(answer, Missing):
                break
            name = answer.name
            answer = await self._send(job, sent_whole=name not in self._sent_whole)
            if isinstance(answer, Missing):
                self._sent_whole.discard(name)
            else:
                self._sent_whole.add(name)
        return answer

    async def _send(self, job: ChunkJob, *, sent_whole: bool) -> Done | Missing | Raised:
        packed = await in_thread(lambda: pack(job, self._spool_dir, sent_whole=sent_whole), timeout_s=_READ_S)
        request = Commit(number=next(self._numbers), job=packed.job, files=packed.files)
        self._unseen_since[request.number] = time.monotonic()
        try:
            return decode_answer(await self._agent.call("commit", _encoded(request), packed.content))
        finally:
            del self._unseen_since[request.number]

    async def listen(
        self, log: Callable[[int, str], None], told: Callable[[Incident], None], heard: Callable[[], None]
    ) -> None:
        """Ask for news for ever; raises HostGone once the host has been silent for too long, or is known to be gone."""
        while True:
            poll = Poll(seen=self.news.last, wait_s=self._silent_s / _POLLS_PER_SILENCE, workers=self.workers)
            self._take(News.model_validate_json(await self._answer(poll)), log, told)
            self._look_for_forgotten()
            heard()

    def _look_for_forgotten(self) -> None:
        """Raise HostGone for a request that was sent, is not answered, and is not there: nothing would end the wait for it."""
        now = time.monotonic()
        for number, since in self._unseen_since.items():
            if number in self.news.requests:
                self._unseen_since[number] = now
            elif now - since > self._forgotten_s:
                raise HostGone(f"has not heard of a chunk for {self._forgotten_s:g} s (chunk_deadline_s)")

    def _take(self, news: News, log: Callable[[int, str], None], told: Callable[[Incident], None]) -> None:
        self.news = news
        for item in news.items:
            match item:
                case IncidentTold():
                    told(item.incident)
                case LogLine():
                    log(item.level, f"host {self.host.name}: {item.text}")

    async def _answer(self, poll: Poll) -> bytes:
        """The answer to a poll. Time in which this process was stopped or starved is not the host's silence."""
        calling = asyncio.ensure_future(self._agent.call("news", _encoded(poll)))
        silent_s = 0.0
        try:
            while not calling.done():
                asleep_at = time.monotonic()
                await asyncio.wait({calling}, timeout=_LOOK_S)
                silent_s += min(time.monotonic() - asleep_at, 2 * _LOOK_S)
                if silent_s > self._silent_s and not calling.done():
                    raise HostGone(f"was silent for {self._silent_s:g} s (host_silent_s)")
            return calling.result()
        finally:
            calling.cancel()

    async def close(
        self, log: Callable[[int, str], None], told: Callable[[Incident], None], *, at_once: bool, timeout_s: float
    ) -> None:
        """Have it end its workers, within this time; then end its process."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._agent.call("close", _encoded(Close(at_once=at_once, seen=self.news.last)))
            self._take(Closed.model_validate_json(answer).news, log, told)
        except TimeoutError:
            log(logging.WARNING, f"host {self.host.name}: did not end its workers within {timeout_s:g} s; ending it")
        except HostGone as gone:
            log(logging.WARNING, f"host {self.host.name}: was gone before its end: it {gone}")
        await self._agent.end()

    async def end(self) -> None:
        """End the agent's process without asking it."""
        await self._agent.end()


def _encoded(message: Open | Commit | Poll | Close) -> bytes:
    return message.model_dump_json().encode()
