"""A Ray cluster of network namespaces and a server outside that they reach, for tests of loads whose chunks are on hosts."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.namespaces import Host, Network, Outside
from pipeline.ray_nodes import RayCluster, RayNode, ray_cluster
from pipeline_tests.support import run_process
from pipeline_tests.support.database import fetch
from pipeline_tests.support.hosts import hosts, serve
from pipeline_tests.support.waiting import is_stopped, is_worker, wait_until
from rowledger.embedded.server import EmbeddedServer
from rowledger.settings import child_environment
from rowledger.spec.table import TableSpec

__all__ = ["RayHosts", "finish", "go_on", "ray_hosts", "stopped_pids", "wait_until_stopped", "worker_pids_on"]

_RUN_S = 200


@dataclass(frozen=True)
class RayHosts:
    """The hosts `names`, of which those that were started have a node, and `head`, where runs are.

    `url` is the database's for the test, which is outside, and `url_of_hosts` the same for head and hosts.
    """

    network: Network
    cluster: RayCluster
    url: str
    url_of_hosts: str
    _nodes: dict[str, RayNode] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Host:
        return self.network.hosts[name]

    @property
    def head(self) -> Host:
        return self["head"]

    @property
    def outside(self) -> Outside:
        return self.network.outside

    def begin_node(self, name: str, *, failpoints: str = "", **variables: str) -> None:
        """Start a node on a host, with failpoints for its workers alone; it is not up yet."""
        environment = _environment(self.url_of_hosts, failpoints) | variables
        self._nodes[name] = self.cluster.start(self[name], environment)

    def add(self, name: str, *, failpoints: str = "", **variables: str) -> None:
        """Start a node on a host, and wait until Ray has it."""
        self.begin_node(name, failpoints=failpoints, **variables)
        self.wait_until_up()

    def wait_until_up(self) -> None:
        """Wait until Ray has all nodes that were begun."""
        for node in (self.cluster.head, *self._nodes.values()):
            node.wait_until_up()

    @contextlib.contextmanager
    def run(
        self, spec: TableSpec, landing: Path, keys: Sequence[str], *, cwd: Path | None = None, **writer: object
    ) -> "Iterator[subprocess.Popen[str]]":
        """A run on the head's host that commits its chunks on the hosts; it is killed if it has not ended with the block."""
        options: dict[str, Any] = {
            "engine": "ray",
            "engine_address": self.cluster.address,
            "workers": 2,
            "host_silent_s": 5,
            **writer,
        }
        with run_process.start(
            self.url_of_hosts, spec, landing, keys, host=self.head, cwd=cwd, variables=self.cluster.access, **options
        ) as process:
            try:
                yield process
            finally:
                process.kill()
                if process.stdout is not None and not process.stdout.closed:
                    sys.stdout.write(process.communicate()[0])  # pytest shows it where the test has failed

    def hosts_of_chunks(self, spec: TableSpec) -> set[str]:
        """The hosts whose workers have committed chunks of a table."""
        rows = fetch(
            self.url,
            "select distinct worker_host from rowledger.chunk join rowledger.load using (load_id) "
            "where chunk.state = 'committed' and target = $1",
            str(spec.target),
        )
        return {row[0] for row in rows}

    def incidents(self, kind: str) -> list[dict[str, Any]]:
        rows = fetch(self.url, "select * from rowledger.incident where kind = $1 order by incident_id", kind)
        return [dict(row) for row in rows]


def finish(process: "subprocess.Popen[str]") -> str:
    """What a run has said, once it has ended by itself."""
    try:
        return process.communicate(timeout=_RUN_S)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"the run did not end within {_RUN_S} s; it said:\n{process.communicate()[0]}")


def stopped_pids(host: Host) -> list[int]:
    """The processes of a host that a SIGSTOP holds."""
    return [pid for pid in host.pids() if is_stopped(pid)]


def wait_until_stopped(host: Host, count: int = 1) -> list[int]:
    """The processes of a host that its failpoints have stopped, once there are so many."""
    stopped: list[int] = wait_until(
        lambda: found if len(found := stopped_pids(host)) >= count else [], f"{count} workers stop on {host.name}"
    )
    return stopped


def go_on(pids: Sequence[int]) -> None:
    """Let stopped processes go on."""
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def worker_pids_on(host: Host) -> list[int]:
    """The workers of a host that have not ended."""
    found = []
    for pid in host.pids():
        with contextlib.suppress(psutil.NoSuchProcess):
            if is_worker(psutil.Process(pid)):
                found.append(pid)
    return found


@contextlib.contextmanager
def ray_hosts(server: EmbeddedServer, *names: str) -> Iterator[RayHosts]:
    """A network of `head` and hosts of these names, with a node on `head` so far; skips where there can be none."""
    with hosts("head", *names) as network:
        url, url_of_hosts = serve(server, network)
        with ray_cluster(network.hosts["head"], _environment(url_of_hosts, "")) as cluster:
            yield RayHosts(network, cluster, url, url_of_hosts)


def _environment(url: str, failpoints: str) -> dict[str, str]:
    environment = child_environment(ROWLEDGER_DATABASE_URL=url, ROWLEDGER_FAILPOINTS=failpoints)
    return {name: value for name, value in environment.items() if not name.startswith("PG")}
