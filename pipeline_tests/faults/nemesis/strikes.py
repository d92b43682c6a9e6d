"""The striker: carries out the strikes of a phase, undoes those that last, and keeps the books on what it has done."""

import collections
import contextlib
import functools
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import psutil

from pipeline_tests.faults.nemesis.faults import HOST_WEIGHTS, Fault
from pipeline_tests.faults.nemesis.host_strikes import HostStrikes
from pipeline_tests.faults.nemesis.plan import Sign, Strike
from pipeline_tests.faults.nemesis.process import Run
from pipeline_tests.faults.nemesis.witness import Ledger, Progress
from pipeline_tests.support.hosts_of_runs import HostsOfRuns
from pipeline_tests.support.own_server import crash
from pipeline_tests.support.proxy import Fate, Proxy, Request, Trap, is_commit
from pipeline_tests.support.waiting import is_worker
from rowledger.embedded.server import EmbeddedServer

__all__ = ["CommitInDoubt", "CommitKind", "Kill", "Striker"]

T = TypeVar("T")

_WORKER, _CONTROL = "rowledger worker", "rowledger control"
_CHUNK_COMMIT = is_commit(_WORKER, "rowledger.chunk")
_PUBLISH_COMMIT = is_commit(_CONTROL, "set state = 'replaced'")
_CANCEL_BOUND_S = 20.0  # twice what is promised: the machine may be busy
_CAUGHT_LATER = frozenset(
    {Fault.FREEZE, Fault.LOSE_REPLY, Fault.LOSE_REPLY_AND_WORKER, Fault.LOSE_COMMIT, Fault.LATE_COMMIT}
)
_FATES = {
    Fault.LOSE_COMMIT: Fate.NEVER_ARRIVES,
    Fault.LOSE_REPLY: Fate.REPLY_LOST,
    Fault.LOSE_REPLY_AND_WORKER: Fate.REPLY_FROZEN,
    Fault.LATE_COMMIT: Fate.IN_DOUBT,
}


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that was killed from outside, by the wall clock."""

    pid: int
    at: float
    run: Run
    host: str | None = None
    """The name of its host; None for the run's own machine."""


class CommitKind(StrEnum):
    """What a COMMIT in doubt would have made durable."""

    CHUNK = "chunk"
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True)
class CommitInDoubt:
    """A COMMIT whose sender cannot know how it ended; times of the wall clock, which the server on this machine shares.

    The ledger tells later: the chunk's claim, made between the transaction's begin and its COMMIT, is there or is not.
    """

    kind: CommitKind
    session: str
    begun_at: float
    sent_at: float
    said: tuple[str, ...]

    @property
    def worker_pid(self) -> int:
        """A worker's session is named after its process, and before that after the number of its host."""
        return int(self.session.removeprefix(_WORKER).split()[0].rpartition(".")[2])


@dataclass
class _Snare:
    """A trap in the proxy, and what goes with it."""

    strike: Strike
    trap: Trap | None = None
    doubt: CommitInDoubt | None = None
    is_armed: bool = True
    is_seen: bool = False

    @property
    def has_sprung(self) -> bool:
        return self.trap is not None and self.trap.sprung.is_set()


class Striker:
    """Does its work when it is called, which is often: `act` looks at the progress and does what is due."""

    def __init__(
        self,
        server: EmbeddedServer,
        ledger: Ledger,
        proxy: Proxy | None,
        strikes: tuple[Strike, ...],
        hosts: HostsOfRuns | None = None,
    ) -> None:
        self._server = server
        self._ledger = ledger
        self._proxy = proxy
        self._hosts = hosts
        self.host_strikes = HostStrikes(hosts) if hosts else None
        self.fired: collections.Counter[str] = collections.Counter()
        """The strikes that have hit something, by fault."""
        self._waiting = list(strikes)
        self._restores: list[tuple[float, Callable[[], object], str]] = []
        self._snares: list[_Snare] = []
        self._worker_sessions: set[str] = set()
        self._begun_at: dict[str, float] = {}
        self._is_server_down = False
        self._is_refusing = False
        self.runs: list[Run] = []
        self.kills: list[Kill] = []
        self.other_kills = 0
        """Supervisors, backends and servers ended."""
        self.doubts: list[CommitInDoubt] = []
        self.disturbances: list[tuple[float, float]] = []
        """Spans of the wall clock in which something but a worker was not well."""
        self.crashes = 0
        self.said: list[str] = []
        self.last_event_at = time.monotonic()
        self._watched: set[Proxy] = set()

    # ---- the one entrance, and the exit ----------------------------------------------------------------------------------

    def act(self, progress: Progress | None) -> None:
        """Undo what has lasted long enough, then let every strike fall whose moment has come."""
        now = time.monotonic()
        if progress is not None:
            self._worker_sessions.update(name for name in progress.sessions if name.startswith(_WORKER))
        for due in [restore for restore in self._restores if restore[0] <= now]:
            self._restores.remove(due)
            self._restore(due)
        self._watch_proxies()
        self._watch_snares()
        for strike in [
            strike for strike in self._waiting if self.has_come(strike.moment.sign, strike.moment.count, progress)
        ]:
            self._waiting.remove(strike)
            self._strike(strike)

    def had_session(self, pid: int) -> bool:
        """Whether a worker was seen on the server, by the name of its session."""
        return any(re.match(rf"{_WORKER} (\d+\.)?{pid} ", name) for name in self._worker_sessions)

    @property
    def has_more(self) -> bool:
        """Whether there are strikes whose moment has not come."""
        return bool(self._waiting)

    def has_come(self, sign: Sign, count: int, progress: Progress | None) -> bool:
        """Whether a moment has come."""
        match sign:
            case Sign.CHUNKS:
                return progress is not None and progress.chunks >= count
            case Sign.PUBLISHED:
                return progress is not None and progress.published >= count
            case Sign.WORKERS:
                return len(self._worker_sessions) >= count
            case Sign.DEATHS:
                return sum(len(run.deaths()) for run in self.runs) >= count

    def finish(self) -> None:
        """Undo everything, whether it is due or not."""
        while self._restores:
            self._restore(self._restores.pop(0))
        self._watch_snares()
        for snare in self._snares:
            snare.is_armed = False  # what has not come yet must not befall the next phase
        for proxy in self._proxies():
            proxy.cut_all()

    # ---- strikes ---------------------------------------------------------------------------------------------------------

    def _strike(self, strike: Strike) -> None:
        victim: object = None
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            victim = self._carry_out(strike)
        self.last_event_at = time.monotonic()
        if victim is not None and strike.fault not in _CAUGHT_LATER:
            self.fired[strike.fault] += 1
        self._say(
            f"{strike.fault} at {strike.moment.count} {strike.moment.sign}: {'no victim' if victim is None else victim}"
        )

    def _carry_out(self, strike: Strike) -> object:  # noqa: C901, PLR0911, PLR0912 - one branch a fault
        if strike.fault in HOST_WEIGHTS:
            return self._strike_at_hosts(strike)
        match strike.fault:
            case Fault.KILL_WORKER:
                return self._kill_worker(strike, signal.SIGKILL)
            case Fault.SEGV_WORKER:
                return self._kill_worker(strike, signal.SIGSEGV)
            case Fault.STOP_WORKER:
                pids = [pid for run in self.runs for _, pid in run.all_workers()]
                return self._stop(_picked(pids, strike), strike, group=False)
            case Fault.KILL_SUPERVISOR:
                return self._signal_run(strike, signal.SIGKILL, group=False)
            case Fault.KILL_GROUP:
                return self._signal_run(strike, signal.SIGKILL, group=True)
            case Fault.STOP_SUPERVISOR | Fault.STOP_GROUP:
                run = _picked(self._living(), strike)
                self._disturbed(strike.lasts_s)
                return self._stop(run.pid if run else None, strike, group=strike.fault is Fault.STOP_GROUP)
            case Fault.SIGTERM:
                return self._signal_run(strike, signal.SIGTERM, group=False)
            case Fault.SIGINT | Fault.SIGINT_TWICE:
                victim = self._signal_run(strike, signal.SIGINT, group=True)
                if strike.fault is Fault.SIGINT_TWICE:
                    self._signal_run(strike, signal.SIGINT, group=True)
                return victim
            case Fault.END_BACKEND:
                self._disturbed(1)
                found = _picked(self._backends(), strike)
                if found and self._ledger.fetch("select pg_terminate_backend(%s)", (found[0],)):
                    self.other_kills += 1
                    return found
                return None
            case Fault.KILL_BACKEND:
                found = _picked(self._backends(), strike)
                if found:
                    self._disturbed(5)
                    os.kill(int(found[0]), signal.SIGKILL)
                    self.other_kills += 1
                    self.crashes += 1
                return found
            case Fault.CRASH_SERVER:
                return self._crash_server(strike)
            case Fault.CUT:
                self._disturbed(1)
                return f"{cut} connections" if (cut := sum(proxy.cut_all() for proxy in self._proxies())) else None
            case Fault.REFUSE:
                return self._refuse(strike)
            case Fault.FREEZE:
                return self._freeze(strike)
            case Fault.LOSE_REPLY | Fault.LOSE_REPLY_AND_WORKER | Fault.LOSE_COMMIT | Fault.LATE_COMMIT:
                return self._lay_snare(strike)
        raise AssertionError(f"{strike.fault} is not known")

    def _strike_at_hosts(self, strike: Strike) -> object:
        if self.host_strikes is None or (hit := self.host_strikes.strike(strike)) is None:
            return None
        self._disturbed(strike.lasts_s + 5)
        if strike.fault in {Fault.KILL_HOST, Fault.TAKE_HOST_AWAY, Fault.KILL_AGENT}:
            self.other_kills += 1
        for run in self.runs:
            run.was_killed |= run.pid in hit.killed
        if hit.undo is not None:
            self._later(strike, hit.undo, hit.undone)
        return hit.victim

    def _proxies(self) -> list[Proxy]:
        """That of the runs' own machine, and those of hosts."""
        own = [] if self._proxy is None else [self._proxy]
        return [*own, *(host.proxy for _, host in sorted(self._hosts.up.items()))] if self._hosts else own

    def _proxy_of_chunks(self, strike: Strike) -> Proxy | None:
        """One that chunks pass."""
        if self._hosts is None:
            return self._proxy
        host = _picked([host for _, host in sorted(self._hosts.up.items()) if host.agent_pids()], strike)
        return host.proxy if host else None

    def _watch_proxies(self) -> None:
        """Look on when transactions begin, also on hosts that have come since."""
        for proxy in self._proxies():
            if proxy not in self._watched:
                self._watched.add(proxy)
                proxy.trap(self._note_begin, Fate.NEVER_ARRIVES)  # never springs

    def _living(self) -> list[Run]:
        return [run for run in self.runs if run.exit_code is None]

    def _backends(self) -> list[tuple[int, str]]:
        return [
            (row[0], row[1])
            for row in self._ledger.fetch(
                "select pid, application_name from pg_stat_activity "
                "where application_name like 'rowledger%' and datname = current_database() order by pid"
            )
        ]

    def _kill_worker(self, strike: Strike, number: int) -> object:
        victims = [(run, pid, host) for run in self._living() for host, pid in run.all_workers()]
        if (found := _picked(victims, strike)) is None:
            return None
        return self._kill(*found, number)

    def _kill(self, run: Run, pid: int, host: str | None, number: int) -> object:
        if not is_worker(psutil.Process(pid)):
            return None
        self.kills.append(Kill(pid, time.time(), run, host))
        os.kill(pid, number)
        return f"worker {pid} of {run.name}{f' on {host}' if host else ''}"

    def _signal_run(self, strike: Strike, number: int, *, group: bool) -> object:
        run = _picked(self._living(), strike)
        if run is None or not run.signal(number, group=group):
            return None
        if number == signal.SIGKILL:
            self.other_kills += 1
        else:
            run.must_end_by = time.monotonic() + _CANCEL_BOUND_S
        return run.name

    def _stop(self, pid: int | None, strike: Strike, *, group: bool) -> object:
        if pid is None:
            return None
        process, send = psutil.Process(pid), os.killpg if group else os.kill
        send(pid, signal.SIGSTOP)

        def go_on() -> None:
            if group or process.is_running():  # a worker that is starting outlives its supervisor while it is stopped
                send(pid, signal.SIGCONT)
            for run in self._living():
                if run.pid == pid and run.must_end_by is not None:
                    run.must_end_by = time.monotonic() + _CANCEL_BOUND_S

        self._later(strike, go_on, f"process {pid} goes on")
        return pid

    def _crash_server(self, strike: Strike) -> object:
        if self._is_server_down:
            return None
        self._is_server_down = True
        self._disturbed(strike.lasts_s + 5)
        self.crashes += 1
        self.other_kills += 1
        crash(self._server)

        def come_back() -> None:
            self._server.ensure_running()
            self._is_server_down = False

        self._later(strike, come_back, "the server is back")
        return "server"

    def _refuse(self, strike: Strike) -> object:
        if self._is_refusing:
            return None
        self._is_refusing = True
        self._disturbed(strike.lasts_s + 2)
        proxies = self._proxies()
        refused = sum(proxy.refuse() for proxy in proxies)

        def accept() -> None:
            for proxy in proxies:
                proxy.accept()
            self._is_refusing = False

        self._later(strike, accept, "connections are taken again")
        return f"{refused} connections" if refused else None

    def _freeze(self, strike: Strike) -> object:
        """The next statement of a worker, or of a supervisor, and everything behind it on its connection."""
        session = _WORKER if strike.pick % 3 else _CONTROL
        proxy = self._proxy_of_chunks(strike) if session == _WORKER or self._proxy is None else self._proxy
        if proxy is None:
            return None
        snare = _Snare(strike)
        self._snares.append(snare)
        snare.trap = proxy.trap(lambda request: snare.is_armed and request.session.startswith(session), Fate.FROZEN)
        self._disturbed(strike.lasts_s + 2)
        # Not thawed but cut: a network that was silent for so long has lost the connection.
        self._later(strike, proxy.cut_all, "what was frozen is cut")
        return session

    def _lay_snare(self, strike: Strike) -> object:
        """Catch the next COMMIT of a chunk, or of a publish, and note it: from then on it is in doubt."""
        kind = CommitKind.CHUNK
        if strike.pick % 4 == 0 and strike.fault is not Fault.LOSE_REPLY_AND_WORKER:
            kind = CommitKind.PUBLISH
        proxy = self._proxy_of_chunks(strike) if kind is CommitKind.CHUNK or self._proxy is None else self._proxy
        if proxy is None:
            return None
        snare = _Snare(strike)

        def catch(request: Request) -> bool:
            is_caught = _CHUNK_COMMIT if kind is CommitKind.CHUNK else _PUBLISH_COMMIT
            if not snare.is_armed or not is_caught(request):
                return False
            begun_at = self._begun_at.get(request.session, 0.0)
            snare.doubt = CommitInDoubt(kind, request.session, begun_at, time.time(), request.earlier)
            return True

        self._snares.append(snare)
        snare.trap = proxy.trap(catch, _FATES[strike.fault])
        return f"the next COMMIT of a {kind}"

    def _watch_snares(self) -> None:
        """What follows once a trap has sprung."""
        for snare in [snare for snare in self._snares if not snare.is_seen and snare.has_sprung]:
            snare.is_seen = True
            self.fired[snare.strike.fault] += 1
            self.last_event_at = time.monotonic()
            self._say(f"{snare.strike.fault} has caught its statement")
            if snare.doubt is None:  # a freeze
                continue
            self.doubts.append(snare.doubt)
            if snare.strike.fault is Fault.LOSE_REPLY_AND_WORKER:
                self._kill_by_pid(snare.doubt.worker_pid)
            else:
                self._disturbed(1)
            if snare.strike.fault is Fault.LATE_COMMIT and snare.trap is not None:
                decide = snare.trap.deliver if snare.strike.pick % 2 else snare.trap.drop
                self._later(snare.strike, functools.partial(_in_background, decide), "the late COMMIT is settled")

    def _kill_by_pid(self, pid: int) -> None:
        for run in self._living():
            for host, own_pid in run.all_workers():
                if own_pid == pid:
                    self._say(f"killed {self._kill(run, pid, host, signal.SIGKILL)}")

    def _note_begin(self, request: Request) -> bool:
        if request.text.lstrip().lower().startswith("begin"):
            self._begun_at[request.session] = time.time()
        return False

    # ---- books -----------------------------------------------------------------------------------------------------------

    def _later(self, strike: Strike, restore: Callable[[], object], text: str) -> None:
        self._restores.append((time.monotonic() + strike.lasts_s, restore, text))

    def _restore(self, due: tuple[float, Callable[[], object], str]) -> None:
        _, restore, text = due
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            restore()
        self.last_event_at = time.monotonic()
        self._say(text)

    def _disturbed(self, seconds: float) -> None:
        self.disturbances.append((time.time() - 1, time.time() + seconds))

    def _say(self, text: str) -> None:
        self.said.append(f"{time.time():.3f} {text}")


def _picked(candidates: list[T], strike: Strike) -> T | None:
    return candidates[strike.pick % len(candidates)] if candidates else None


def _in_background(decide: Callable[[], None]) -> None:
    """Not to be waited for: the COMMIT may have to wait for locks itself, and other strikes are due meanwhile."""

    def run() -> None:
        with contextlib.suppress(AssertionError):
            decide()

    threading.Thread(target=run, name="late COMMIT", daemon=True).start()
