"""What is done to hosts. Each strike says what it has hit, and how it is undone; none where there was nothing to hit."""

import functools
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline_tests.faults.nemesis.faults import Fault
from pipeline_tests.faults.nemesis.plan import Strike
from pipeline_tests.support.hosts_of_runs import HostOfRuns, HostsOfRuns

__all__ = ["Hit", "HostStrikes"]

_HOSTS_MAX = 5
_DELAY_S = 0.1
_SLOW_BYTES_PER_S = 100_000


@dataclass(frozen=True, slots=True)
class Hit:
    """What a strike has hit. `undo` ends what lasts, and is None where nothing does."""

    victim: object
    undo: Callable[[], object] | None = None
    undone: str = ""
    killed: Sequence[int] = ()
    """Pids."""


class HostStrikes:
    """Strikes at the hosts of a round."""

    def __init__(self, hosts: HostsOfRuns) -> None:
        self._hosts = hosts
        self.hit_at: dict[str, list[float]] = {}
        """When something began or ended to befall a host, by its name and by the wall clock."""

    def strike(self, strike: Strike) -> Hit | None:
        """Strike at a host that has agents, if the strike does not add one."""
        if strike.fault is Fault.ADD_HOST:
            return self._add()
        at_work = [host for _, host in sorted(self._hosts.up.items()) if host.agent_pids()]
        if not at_work:
            return None
        host = at_work[strike.pick % len(at_work)]
        self._note(host)
        return self._strike_at(host, strike)

    def was_hit(self, name: str, begin: float, end: float) -> bool:
        """Whether anything befell the host between these times, or lasts since before."""
        return any(begin <= at <= end for at in self.hit_at.get(name, []))

    def _strike_at(self, host: HostOfRuns, strike: Strike) -> Hit | None:  # noqa: C901, PLR0911 - one branch a fault
        other_way = bool(strike.pick // 7 % 2)  # a power cut says nothing, a killed process does
        match strike.fault:
            case Fault.KILL_HOST:
                if not (killed := self._hosts.kill(host, silently=other_way)):
                    return None
                come_back = functools.partial(self._come_back, host.name)
                return Hit(_told(host, other_way), come_back, f"host {host.name} comes back", killed)
            case Fault.TAKE_HOST_AWAY:
                if len(self._hosts.up) == 1 or not (killed := self._hosts.kill(host, silently=other_way)):
                    return None
                return Hit(_told(host, other_way), killed=killed)
            case Fault.KILL_AGENT:
                if not (pids := host.agent_pids()):  # it has just ended
                    return None
                pid = pids[strike.pick % len(pids)]
                os.kill(pid, signal.SIGKILL)
                return Hit(f"agent {pid} of host {host.name}")
            case Fault.FREEZE_HOST:
                if not (frozen := host.signal(signal.SIGSTOP)):
                    return None
                return Hit(f"host {host.name}", lambda: self._thaw(host, frozen), f"host {host.name} thaws")
            case Fault.CUT_HOST:
                self._hosts.cut(host)
                return Hit(f"host {host.name}", lambda: self._heal(host), f"host {host.name} is joined again")
            case Fault.CUT_HOST_FROM_DATABASE:
                return self._cut_from_database(host, silently=other_way)
            case Fault.SLOW_HOST:
                host.delay_s = _DELAY_S
                host.proxy.throttle(lambda session: _SLOW_BYTES_PER_S if "worker" in session else None)
                return Hit(f"host {host.name}", lambda: self._hasten(host), f"host {host.name} is as fast as before")
            case _:
                raise AssertionError(f"{strike.fault} is not done to hosts")

    def _add(self) -> Hit | None:
        if len(self._hosts.up) >= _HOSTS_MAX:
            return None
        added = self._hosts.add_new()
        return Hit(added.name) if added else None

    def _come_back(self, name: str) -> None:
        if name not in self._hosts.up:
            self._hosts.add(name)

    def _thaw(self, host: HostOfRuns, frozen: list[int]) -> None:
        self._note(host)
        for pid in frozen:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                continue

    def _heal(self, host: HostOfRuns) -> None:
        self._note(host)
        self._hosts.heal(host)

    def _cut_from_database(self, host: HostOfRuns, *, silently: bool) -> Hit:
        proxy = host.proxy
        if silently:
            cut = proxy.silence()
            end: Callable[[], object] = proxy.cut_all
        else:
            cut = proxy.refuse()
            end = proxy.accept
        how = "silently" if silently else "refused"
        return Hit(
            f"host {host.name}, {cut} sessions, {how}" if cut else None,
            lambda: (self._note(host), end()),
            f"host {host.name} can reach the database again",
        )

    def _hasten(self, host: HostOfRuns) -> None:
        host.delay_s = 0.0
        host.proxy.throttle(lambda _session: None)

    def _note(self, host: HostOfRuns) -> None:
        self.hit_at.setdefault(host.name, []).append(time.time())


def _told(host: HostOfRuns, silently: bool) -> str:  # noqa: FBT001 - a phrase
    return f"host {host.name}{', without a word' if silently else ''}"
