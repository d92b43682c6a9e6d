"""A Ray cluster for one block of code, a node a machine: hosts of network namespaces, or loopback addresses.

Each node has a folder in /tmp, which goes with it. The head's node has no CPUs, so that Rowledger gives it no chunks:
the process of a run is started there, since Ray's drivers have to be on a node.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Machine", "NodeFailed", "RayCluster", "RayNode", "ray_cluster"]

_UP = "Ray runtime started"
_UP_S = 180.0  # Ray's own programs take seconds of CPU time to start, and the machine may be busy
_LOOK_S = 0.05
_OBJECT_STORE_BYTES = 100_000_000
_WORKER_PORTS = 60
_CPUS = 2
_PARENT_BYTES_MAX = 20


class Machine(Protocol):
    """What a node is started on: a host of network namespaces or of a loopback address."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        env: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401 - Popen's own
    ) -> "subprocess.Popen[Any]":
        """Start a program there, with Popen's options."""

    def pids(self) -> list[int]:
        """The processes that were started there, and all below them."""

    def kill_all(self) -> list[int]:
        """SIGKILL all that was started there and all below, and wait until it is gone; return whom."""


class NodeFailed(RuntimeError):
    """A node has ended, or was not up in time; the message has its last lines."""


@dataclass(frozen=True)
class RayNode:
    """A node: `ray start --block`, and below it the processes of Ray and what runs in its actors."""

    machine: Machine
    process: "subprocess.Popen[str]" = field(repr=False)
    _said: list[str] = field(default_factory=list, repr=False)
    _up: threading.Event = field(default_factory=threading.Event, repr=False)

    def listen(self) -> None:
        """Read what it says from now on, in a thread that ends with it."""
        threading.Thread(target=self._listen, name=f"output of {self.machine.name}", daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - a pipe
        with contextlib.suppress(ValueError):  # closed meanwhile
            for line in self.process.stdout:
                self._said.append(line.rstrip())
                if _UP in line:
                    self._up.set()
        self._up.set()

    def wait_until_up(self) -> None:
        """Return once Ray has taken it into the cluster; raises NodeFailed."""
        self._up.wait(_UP_S)
        if not any(_UP in line for line in self._said):
            raise NodeFailed(f"the node on {self.machine.name} did not start:\n" + "\n".join(self._said[-20:]))

    def kill(self) -> list[int]:
        """SIGKILL all of it, and what else is on its machine; return whom."""
        killed = self.machine.kill_all()
        self.process.wait()
        return killed


class RayCluster:
    """Made by `ray_cluster`. `address` is what `engine_address` and `ray start` take.

    The process of a run needs the variables in `access`. Ray listens on all addresses of a machine, and who reaches it can run
    programs there. Whether it wants a token otherwise depends on whether there happens to be one in this user's home.
    """

    def __init__(self, head: Machine, folder: Path, environment: Mapping[str, str]) -> None:
        self.access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._folder = folder
        self._nodes: list[RayNode] = []
        port, client_port = _free_ports(2)
        self.address = f"{head.address}:{port}"
        own = [f"--port={port}", f"--ray-client-server-port={client_port}", "--include-dashboard=false", "--num-cpus=0"]
        self.head = self._started(head, ["--head", *own], environment)

    def start(self, machine: Machine, environment: Mapping[str, str]) -> RayNode:
        """Start a node with these variables, which its agents and their workers have too; it is not up yet."""
        self._wait_for_address()
        return self._started(machine, [f"--address={self.address}", f"--num-cpus={_CPUS}"], environment)

    def _wait_for_address(self) -> None:
        """Wait until the head answers at its address, which it does before it is up."""
        host, _, port = self.address.rpartition(":")
        while self.head.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), _LOOK_S):
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.head.process.wait(_LOOK_S)
        self.head.wait_until_up()

    def _started(self, machine: Machine, options: Sequence[str], environment: Mapping[str, str]) -> RayNode:
        own = self._folder / str(len(self._nodes))  # nodes that start at once would take each other's names of sockets
        ports = ",".join(map(str, _free_ports(_WORKER_PORTS)))
        process = machine.run(
            [
                Path(sys.executable).with_name("ray"),
                "start",
                "--block",
                f"--node-ip-address={machine.address}",
                f"--node-name={machine.name}",
                f"--temp-dir={own}",
                f"--worker-port-list={ports}",
                f"--object-store-memory={_OBJECT_STORE_BYTES}",
                "--disable-usage-stats",
                *options,
            ],
            # Nodes share this machine with the server and with each other: Ray's niceness would starve their workers.
            env={"RAY_worker_niceness": "0", **environment, **self.access, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a terminal's Ctrl-C ends the block, and the block's end the nodes
        )
        node = RayNode(machine, process)
        self._nodes.append(node)
        node.listen()
        return node

    def close(self) -> None:
        """Kill what is left of the nodes, the head's at last."""
        for node in reversed(self._nodes):
            node.kill()


@contextlib.contextmanager
def ray_cluster(head: Machine, environment: Mapping[str, str]) -> Iterator[RayCluster]:
    """A cluster that has only the head's node so far. Nothing of its nodes is left when the block ends."""
    # The paths of Ray's sockets have 107 bytes at most, of which a long folder would leave too few.
    parent = tempfile.gettempdir() if len(tempfile.gettempdir()) <= _PARENT_BYTES_MAX else "/tmp"  # noqa: S108
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=parent))
    try:
        cluster = RayCluster(head, folder, environment)
        try:
            yield cluster
        finally:
            cluster.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody on this machine listens on; nodes side by side need different ones."""
    with contextlib.ExitStack() as stack:
        bound = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in bound:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in bound]
