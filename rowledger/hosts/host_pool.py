"""The pool of a run whose chunks are committed on other hosts. It has the interface of `Pool`, and a local one for planning.

It looks for hosts as long as the run lasts, and has each work for the run until it is lost.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rowledger.chunk import ChunkJob, Job, PlanJob
from rowledger.counted import counted
from rowledger.errors import HostsUnavailable, PoolBroken, RowledgerError, WriterClosed
from rowledger.hosts.chunk_requests import ChunkRequests
from rowledger.hosts.early_hosts import EarlyHosts
from rowledger.hosts.engine import HostGone, Place
from rowledger.hosts.host_at_work import HostAtWork
from rowledger.hosts.host_names import HostNames
from rowledger.hosts.losses import HostLosses
from rowledger.hosts.messages import Open
from rowledger.hosts.remote_host import HostRefused, RemoteHost
from rowledger.ledger import ChunkOutcome, Incident, IncidentKind, Planned
from rowledger.machine import Host
from rowledger.postgres import OutageGate, summarize
from rowledger.settings import WriterSettings
from rowledger.workers import LogSink, Pool, Produced, Production

__all__ = ["HostPool"]

_LOOK_FOR_HOSTS_S = 1.0
_CONNECTIONS_MIN = 2  # of a host: a worker's, and its agent's for incidents
_LOCAL_WORKERS = 1  # which plans


@dataclass(frozen=True, slots=True)
class Sharing:
    """What the hosts get of the run: the order, but for the host and its workers, and at first these connections.

    They are those of all workers: of the local one that plans, and of agents and workers on hosts.
    """

    order: Open
    connections_max: int
    spool_dir: Path


class HostPool:
    """The hosts of a run, as an async context manager. `ready` returns once the run has a session on the server."""

    def __init__(
        self,
        local: Pool,
        engine: EarlyHosts,
        sharing: Sharing,
        limits: WriterSettings,
        *,
        gate: OutageGate,
        losses: HostLosses,
        told: Callable[[Incident], None],
        log: LogSink,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._local = local
        self._engine = engine
        self._sharing = sharing
        self._connections_max = sharing.connections_max - _LOCAL_WORKERS
        self._limits = limits
        self._losses = losses
        self._told = told
        self._log = log
        self._ready = ready
        self._chunks = ChunkRequests(limits, gate)
        self._hosts: dict[str, RemoteHost] = {}  # by the engine's identifier; those at work, benched ones among them
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._recording: set[asyncio.Task[None]] = set()
        self._refused: dict[str, str] = {}
        self._not_yet: dict[str, str] = {}  # refused for a reason that may pass by itself
        self._not_before: dict[str, float] = {}  # a host that was lost is left alone for a while
        self._names = HostNames()
        self._changed = asyncio.Event()
        self._gathering: asyncio.Task[None] | None = None
        self._closed = True
        self._places_max = 0  # hosts that the run could have now
        self._lost = 0
        self._charged_of_lost = self._peak_of_lost = 0

    @property
    def peak_rss_bytes(self) -> int:
        """The most resident memory that any worker of any host has had, as far as the hosts have told."""
        of_hosts = (remote.news.peak_rss_bytes for remote in self._hosts.values())
        return max([self._local.peak_rss_bytes, self._peak_of_lost, *of_hosts])

    async def __aenter__(self) -> Self:
        self._closed = False
        await self._local.__aenter__()
        self._gathering = asyncio.create_task(self._gather(), name="hosts")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the workers of all hosts: gracefully after a successful run, at once after an error or a cancel."""
        self._closed = True
        serving = list(self._serving.values())
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        self._chunks.cancel()
        closing = (self._close(remote, at_once=kind is not None) for remote in self._hosts.values())
        await asyncio.gather(*closing, *self._recording, return_exceptions=True)
        if self._gathering is not None:
            self._gathering.cancel()
            await asyncio.gather(self._gathering, return_exceptions=True)
        await self._local.__aexit__(kind, error, traceback)

    async def plan(self, job: PlanJob) -> Planned:
        """Have a partition planned on the head's machine; see `Pool.plan`."""
        return await self._local.plan(job)

    def produce(self, work: Production, *, may_repeat: bool) -> AsyncGenerator[Produced, None]:
        """Have a partition's source read on the head's machine; see `Pool.produce`."""
        return self._local.produce(work, may_repeat=may_repeat)

    async def commit(self, job: Job) -> ChunkOutcome:
        """Have a chunk committed on a host; raises as `Pool.commit`, and HostsUnavailable where there is no host for it."""
        if self._closed:
            raise WriterClosed("the writer's pool is not open: use it inside its `async with` block")
        return await (self._chunks.commit(job) if isinstance(job, ChunkJob) else self._local.commit(job))

    def resize(self, workers: int) -> None:
        """Have this many connections of workers from now on; see `LoadPool.resize`. Hosts hear of it with their next poll."""
        self._connections_max = workers - _LOCAL_WORKERS
        hosts = sorted(self._hosts.values(), key=lambda remote: remote.workers_max)
        sharing = max(len(hosts), self._places_max)  # those that may come have a share too
        left = self._connections_max - sharing
        for number, remote in enumerate(hosts):  # what a small one spares, others get
            remote.workers = min(remote.workers_max, max(1, left // (sharing - number)))
            left -= remote.workers

    # ---- which hosts there are ----------------------------------------------------------------------------------------------

    async def _gather(self) -> None:
        """Take hosts into the run as they come, until it ends."""
        try:
            await self._ready()
            await self._look_for_hosts()
        except RowledgerError as error:
            self._chunks.break_with(error)
        except Exception as error:  # noqa: BLE001 - the run must not wait for hosts that nobody looks for
            self._chunks.break_with(
                HostsUnavailable(f"the engine failed ({type(error).__name__}: {error}); see to it, then rerun")
            )

    async def _look_for_hosts(self) -> None:
        loop = asyncio.get_running_loop()
        none_since: float | None = loop.time()
        while True:
            places: Sequence[Place] = ()
            with contextlib.suppress(HostGone):  # the engine does not answer now; hosts that are at work go on
                places = await self._engine.places()
            if places:
                able = sum(place.identifier not in self._refused for place in places)
                self._places_max = min(able, self._limits.hosts or Host.NUMBER_MAX)
            for place in places:
                if self._may_take(place):
                    task = asyncio.create_task(self._serve(place), name=f"host {place.name}")
                    self._serving[place.identifier] = task
            may_come = self._serving.keys() - self._hosts.keys() - self._not_yet.keys()
            if may_come or self._may_work:
                none_since = None
            elif places and all(place.identifier in self._refused for place in places):
                self._chunks.break_with(HostsUnavailable(self._why_none()))
            elif none_since is None:
                none_since = loop.time()
            elif loop.time() - none_since > self._patience_s:
                self._chunks.break_with(HostsUnavailable(self._why_none()))
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_FOR_HOSTS_S):
                    await self._changed.wait()

    @property
    def _may_work(self) -> bool:
        """Whether any host can reach the database."""
        return any(remote.may_work.is_set() for remote in self._hosts.values())

    @property
    def _patience_s(self) -> float:
        """How long a run waits while no host can work for it."""
        limits = self._limits
        is_away = bool(self._hosts or self._not_yet)
        return max(limits.start_timeout_s, limits.outage_budget_s) if is_away else limits.start_timeout_s

    def _why_none(self) -> str:
        if self._hosts:
            names = ", ".join(remote.host.name for remote in self._hosts.values())
            return f"no host can reach the database ({names}), and the head can; see to the network between them, then rerun"
        if self._refused or self._not_yet:
            reasons = "; ".join([*self._refused.values(), *self._not_yet.values()])
            return f"no host can work for this run: {reasons}; then rerun"
        return (
            f"the engine had no host for {self._limits.start_timeout_s:g} s (start_timeout_s); see which nodes it has, "
            "then rerun"
        )

    def _may_take(self, place: Place) -> bool:
        if place.identifier in self._serving or place.identifier in self._refused:
            return False
        if asyncio.get_running_loop().time() < self._not_before.get(place.identifier, 0.0):
            return False
        if (
            self._closed
            or self._chunks.broken is not None
            or len(self._serving) >= (self._limits.hosts or Host.NUMBER_MAX)
        ):
            return False
        being_opened = len(self._serving) - len(self._hosts)
        return self._connections_left - being_opened * _CONNECTIONS_MIN >= _CONNECTIONS_MIN or not self._serving

    @property
    def _connections_left(self) -> int:
        """Connections that no host has."""
        return self._connections_max - sum(remote.workers + 1 for remote in self._hosts.values())

    # ---- one host -----------------------------------------------------------------------------------------------------------

    async def _serve(self, place: Place) -> None:
        """Have a host work for the run until it is lost."""
        try:
            if (host := self._names.host(place)) is None:
                self._refused[place.identifier] = f"a run has {Host.NUMBER_MAX} hosts at most, one after the other"
                return
            await self._serve_as(place, host)
        finally:
            if not self._closed:
                if (gone := self._hosts.pop(place.identifier, None)) is not None:
                    self._charged_of_lost += gone.news.charged_deaths
                    self._peak_of_lost = max(self._peak_of_lost, gone.news.peak_rss_bytes)
                self._serving.pop(place.identifier, None)
                self._not_before[place.identifier] = asyncio.get_running_loop().time() + self._limits.host_silent_s
                self._changed.set()

    async def _serve_as(self, place: Place, host: Host) -> None:
        limits = self._limits
        remote: RemoteHost | None = None
        try:
            async with asyncio.timeout(limits.start_timeout_s):
                agent = await self._engine.start(place)
            remote = RemoteHost(host, agent, limits, self._sharing.spool_dir)
            order = self._sharing.order.model_copy(update={"host": host, "workers_first": self._share()})
            opened = await remote.open(order, limits.start_timeout_s)
            self._log(logging.INFO, f"host {host.name}: {counted(opened.workers, 'worker')}, agent {opened.pid}")
            for kind, told in opened.limited:  # its agent is to hear from its head meanwhile
                self._in_background(self._losses.note(host, kind, told, opened.pid))
            self._hosts[place.identifier] = remote
            self._not_yet.pop(place.identifier, None)
            at_work = HostAtWork(
                remote,
                self._chunks,
                limits,
                heard=self._watch_deaths,
                losses=self._losses,
                told=self._told,
                log=self._log,
            )
            await at_work.run(began=self._changed.set)
        except HostRefused as refused:
            if remote is not None:
                await remote.end()
            await self._refuse(place, host, refused)
        except asyncio.CancelledError:  # the run ends; it closes the hosts that are at work
            if remote is not None and place.identifier not in self._hosts:
                await remote.end()
            raise
        except TimeoutError:
            await self._lose(host, remote, f"its agent did not start within {limits.start_timeout_s:g} s")
        except HostGone as gone:
            await self._lose(host, remote, str(gone))
        except Exception as error:  # noqa: BLE001 - whatever an engine raises, it must not end in silence
            await self._lose(host, remote, f"met an error of this program ({summarize(error)})")

    def _share(self) -> int:
        """The workers that the next host may have at most: hosts that are there already have theirs."""
        being_opened = max(1, len(self._serving) - len(self._hosts))
        return max(1, self._connections_left // being_opened - 1)

    async def _refuse(self, place: Place, host: Host, refused: HostRefused) -> None:
        """Record that a host does not work for the run, for good or for now; the latter once."""
        why, is_new = f"host {host.name}: {refused}", place.identifier not in self._not_yet
        if refused.may_pass:
            self._not_yet[place.identifier] = why
            self._names.give_back(place, host)
        else:
            self._not_yet.pop(place.identifier, None)
            self._refused[place.identifier] = why
        if is_new or not refused.may_pass:
            told = f"host {host.name} cannot work for this run{' yet' if refused.may_pass else ''}: {refused}"
            self._log(logging.ERROR, told)
            await self._losses.note(host, IncidentKind.HOST_REFUSED, told, refused.pid)

    async def _lose(self, host: Host, remote: RemoteHost | None, why: str) -> None:
        """Record the loss, end the host's sessions, and break the run where it has lost too many.

        A run that ends meanwhile waits for that.
        """
        await asyncio.shield(self._in_background(self._record_loss(host, remote, why)))

    def _in_background(self, recording: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(recording)
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)
        return task

    async def _record_loss(self, host: Host, remote: RemoteHost | None, why: str) -> None:
        self._lost += 1
        told = f"host {host.name} was lost: it {why}"
        self._log(logging.ERROR, told)
        if remote is None:
            await self._losses.note(host, IncidentKind.HOST_LOST, told, None)
        else:
            await asyncio.gather(remote.end(), self._losses.lose(host, remote.news.workers, told, remote.pid))
        if self._lost > self._limits.hosts_lost_max:
            self._chunks.break_with(
                HostsUnavailable(
                    f"{counted(self._lost, 'host')} lost in this run, hosts_lost_max is {self._limits.hosts_lost_max}; "
                    f"the last one: {told}. Look at `rowledger incidents --table TABLE`, see to the hosts, rerun"
                )
            )

    def _watch_deaths(self, remote: RemoteHost) -> None:
        """Break the run where more workers have died on all hosts together than it may lose."""
        charged = self._local.charged_deaths + self._charged_of_lost
        charged += sum(one.news.charged_deaths for one in self._hosts.values())
        if charged > self._limits.respawns_max:
            self._chunks.break_with(
                PoolBroken(
                    f"{counted(charged, 'worker')} died in this run, the respawn budget is {self._limits.respawns_max}; the "
                    f"last one on host {remote.host.name}. Look at `rowledger incidents --table TABLE`, fix the cause, rerun"
                )
            )

    async def _close(self, remote: RemoteHost, *, at_once: bool) -> None:
        # A worker gets this long for its end; the sessions of the agent close meanwhile.
        timeout_s = 2 * self._limits.close_timeout_s
        await remote.close(self._log, self._told, at_once=at_once, timeout_s=timeout_s)
