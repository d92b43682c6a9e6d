"""Hosts for runs that are the nodes of a real Ray cluster, each in a network namespace; with the face of `LinkedHosts`.

They stay from load to load, and so does the name of the database. Each reaches the server through a proxy of its own.
"""

import contextlib
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from pipeline.namespaces import Host, network_of_hosts
from pipeline.ray_nodes import RayCluster, RayNode, ray_cluster
from pipeline_tests.support.proxy import Proxy
from pipeline_tests.support.waiting import is_worker
from rowledger.settings import child_environment

__all__ = ["RayFleet", "RayFleetHost"]

_SPARE = ("added1", "added2")


@dataclass(eq=False)
class RayFleetHost:
    """A host with a node."""

    name: str
    machine: Host
    head: Host
    home: Path
    proxy: Proxy
    node: RayNode

    @property
    def delay_s(self) -> float:
        return 0.0

    @delay_s.setter
    def delay_s(self, delay_s: float) -> None:
        self.machine.slow(self.head, delay_s=delay_s)

    def agent_pids(self) -> list[int]:
        """The actors that are alive."""
        return [pid for pid in self.machine.pids() if "_AgentActor" in _command(pid)]

    def worker_pids(self) -> list[int]:
        found = []
        for pid in self.machine.pids():
            with contextlib.suppress(psutil.Error):
                if is_worker(psutil.Process(pid)):
                    found.append(pid)
        return found

    def signal(self, number: int) -> list[int]:
        """Freeze all of the host; returns the pids."""
        assert number == signal.SIGSTOP
        return self.machine.freeze()


class RayFleet:
    """A context manager; `database_url` is a database's as this machine reaches it. Raises NoNamespaces."""

    def __init__(self, folder: Path, database_url: str, names: Sequence[str]) -> None:
        self._folder = folder
        self._database_url = database_url
        self._names = names
        self._ending = contextlib.ExitStack()
        self.up: dict[str, RayFleetHost] = {}
        """The hosts whose nodes were started, by name."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._network = stack.enter_context(network_of_hosts("head", *self._names, *_SPARE))
            self.outside_address = self._network.outside.address
            self._head = self._network.hosts["head"]
            self._proxies = {
                name: stack.enter_context(Proxy(self._database_url, self.outside_address))
                for name in (*self._names, *_SPARE)
            }
            self._cluster: RayCluster = stack.enter_context(ray_cluster(self._head, child_environment()))
            self._cluster.head.wait_until_up()
            self._ending = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ending.close()

    def ready(self, count: int) -> None:
        """Have so many hosts and no others, all whole and reachable."""
        for name in (*self._names, *_SPARE):
            machine = self._network.hosts[name]
            machine.thaw()
            machine.heal(self._head)
            self._proxies[name].accept()
            wanted = name in self._names[:count]
            host = self.up.get(name)
            if host is not None and (not wanted or host.node.process.poll() is not None):
                self.kill(host, silently=False)
        for name in self._names[:count]:
            if name not in self.up:
                self.add(name)
        for host in self.up.values():
            host.node.wait_until_up()

    def run_options(self) -> dict[str, Any]:
        """What `run_process.start` has to know for a run whose chunks are to be committed here."""
        options = {"engine": "ray", "engine_address": self._cluster.address}
        return {"host": self._head, "variables": self._cluster.access, **options}

    # ---- what befalls hosts ----------------------------------------------------------------------------------------------

    def add(self, name: str) -> RayFleetHost:
        """Start a node; it is not up yet."""
        proxy, home = self._proxies[name], self._folder / f"home-of-{name}"
        environment = child_environment(
            ROWLEDGER_DATABASE_URL=proxy.url, ROWLEDGER_HOME=str(home), ROWLEDGER_FAILPOINTS=""
        )
        machine = self._network.hosts[name]
        host = RayFleetHost(name, machine, self._head, home, proxy, self._cluster.start(machine, environment))
        self.up[name] = host
        return host

    def add_new(self) -> RayFleetHost | None:
        """A host that there was not before, as long as there are any."""
        free = [name for name in _SPARE if name not in self.up]
        return self.add(free[0]) if free else None

    def kill(self, host: RayFleetHost, *, silently: bool) -> list[int]:
        """SIGKILL all of a host; returns the pids. Where it ends silently, its head's side is cut off first."""
        if self.up.get(host.name) is host:
            del self.up[host.name]
        if silently:
            host.machine.cut(self._head)
        killed = host.machine.kill_all()
        host.node.process.wait()
        if silently:
            host.machine.heal(self._head)  # connections that it had are gone; what comes back is another node
        return killed

    def cut(self, host: RayFleetHost) -> None:
        host.machine.cut(self._head)

    def heal(self, host: RayFleetHost) -> None:
        host.machine.heal(self._head)

    def workers_of(self, _head_pid: int) -> list[tuple[RayFleetHost, int]]:
        """All workers: there is one run at a time."""
        return [(host, pid) for host in list(self.up.values()) for pid in host.worker_pids()]

    def homes(self) -> set[Path]:
        return {self._folder / f"home-of-{name}" for name in (*self._names, *_SPARE)}


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""
