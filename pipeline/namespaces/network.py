"""A network of hosts for one block of code, of which nothing is left when the block ends, or when its process is killed."""

import contextlib
import importlib.util
import ipaddress
import itertools
import json
import os
import secrets
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Host", "Network", "NoNamespaces", "Outside", "may_make_namespaces", "network_of_hosts"]

_HERE = Path(__file__).parent
_NETWORKS = ipaddress.IPv4Network("198.18.0.0/15")  # set aside for tests of networks, RFC 2544
_NOBODY = "02:00:00:00:00:01"
_ANSWER_S = 20.0
_MARK = "NAMESPACE_KEEPER"  # in the environment of all processes of a host: who looks after them
_LINK = "eth0"  # in a host, as in a container


class NoNamespaces(RuntimeError):
    """There are no network namespaces for this user on this machine; the message says why."""


class _Keeper:
    """The process that keeps a host's namespaces (`keeper.py`), and its answers."""

    def __init__(self, name: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this package's own program
            [sys.executable, "-I", _HERE / "keeper.py", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a terminal's Ctrl-C ends the block, and the block's end the keepers
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def mark(self) -> str:
        return f"{self.pid}.{_start_time(self.pid)}"

    def wait_until_ready(self) -> None:
        """Wait for the namespaces, and raise NoNamespaces where they cannot be made."""
        try:
            self._answer()
        except _KeeperEnded as error:
            raise NoNamespaces(f"no network namespaces here: {error}") from error

    def ask(self, method: str, **arguments: object) -> Any:  # noqa: ANN401 - whatever the method returns
        """Call a method in the keeper's process."""
        with contextlib.suppress(BrokenPipeError):  # `_answer` says more
            print(json.dumps([method, arguments]), file=self._process.stdin, flush=True)
        answer = self._answer()
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - for the types
        if not select.select([self._process.stdout], [], [], _ANSWER_S)[0]:
            raise TimeoutError(f"the keeper of a host has not answered for {_ANSWER_S} s")
        if line := self._process.stdout.readline():
            return dict(json.loads(line))
        raise _KeeperEnded(self._process.communicate(timeout=_ANSWER_S)[1].strip().rpartition("\n")[2])

    def close(self) -> None:
        """Have it leave, and what is in its namespace with it."""
        if self._process.returncode is not None:
            return
        try:
            self._process.communicate(timeout=_ANSWER_S)
        finally:
            self._process.kill()
            self._process.wait()


class _KeeperEnded(RuntimeError):
    pass


@dataclass(frozen=True)
class _Member:
    """What can be sent packets to: a host, or the machine outside."""

    name: str
    address: str
    hardware: str
    link: str
    keeper: _Keeper = field(repr=False)


@dataclass(frozen=True)
class Outside(_Member):
    """The machine itself, in its own namespace. What listens on its `address` is reached from all hosts."""


@dataclass(frozen=True)
class Host(_Member):
    """A host: `name` is its host name, `address` what others reach it by, beside 127.0.0.1 of its own."""

    switch: _Keeper = field(repr=False)
    _processes: list["subprocess.Popen[Any]"] = field(default_factory=list, repr=False)

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        env: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401 - Popen's own
    ) -> "subprocess.Popen[Any]":
        """Start a program on this host, with Popen's options. It is there when this returns."""
        namespaces = ",".join(f"/proc/{self.keeper.pid}/ns/{kind}" for kind in ("uts", "net"))
        ready, writer = os.pipe()
        with os.fdopen(ready, "rb") as ready_file:
            try:
                enter = [sys.executable, "-I", "-S", str(_HERE / "enter.py"), str(writer), namespaces]
                process = subprocess.Popen(  # noqa: S603 - the caller's program
                    [*enter, *argv],
                    env={**(os.environ if env is None else env), _MARK: self.keeper.mark},
                    pass_fds=(writer,),
                    **options,
                )
            finally:
                os.close(writer)
            self._processes.append(process)
            if refusal := ready_file.read():
                raise OSError(f"{os.fspath(argv[0])} on {self.name}: {refusal.decode()}")
        return process

    def cut(self, other: "Host | Outside") -> None:
        """Let no packet pass between the two from now on, in either direction. Neither side is told."""
        self._know(other, _NOBODY, _NOBODY)

    def heal(self, other: "Host | Outside") -> None:
        """Let packets pass again, and at once."""
        self._know(other, self.hardware, other.hardware)
        self.slow(other, delay_s=0)

    def slow(self, other: "Host | Outside", *, delay_s: float, bytes_per_s: float = 0) -> None:
        """Have all packets between the two arrive so much later, and no more bytes a second than these in each direction.

        0 bytes a second is no limit. `slow` of one of the two replaces what it said before, and adds to what the other said.
        """
        self.switch.ask(
            "slow", port=_port(self.keeper), hardware=other.hardware, delay_s=delay_s, bytes_per_s=bytes_per_s
        )

    def _know(self, other: "Host | Outside", mine: str, others: str) -> None:
        """Packets to a hardware address that nobody has are thrown away by all: silence, as from a pulled cable."""
        self.keeper.ask("set_neighbour", link=self.link, address=other.address, hardware=others)
        other.keeper.ask("set_neighbour", link=other.link, address=self.address, hardware=mine)

    def pids(self) -> list[int]:
        """The processes on this host."""
        return list(self.keeper.ask("pids"))

    def kill_all(self) -> list[int]:
        """SIGKILL all processes on this host, and wait until they are gone; return whom."""
        return list(self.keeper.ask("kill"))

    def freeze(self) -> list[int]:
        """SIGSTOP all processes on this host, and wait until they stand still; return them. The host's kernel goes on."""
        return list(self.keeper.ask("freeze"))

    def thaw(self) -> None:
        """Let the processes of a frozen host go on."""
        self.keeper.ask("thaw")

    def close(self) -> None:
        """End all processes and the host itself."""
        try:
            self.keeper.close()
        finally:
            for process in self._processes:
                process.wait(_ANSWER_S)
                for stream in (process.stdin, process.stdout, process.stderr):
                    if stream is not None:
                        stream.close()


@dataclass(frozen=True)
class Network:
    """The hosts by name, in their order, and the machine outside."""

    hosts: dict[str, Host]
    outside: Outside


@contextlib.contextmanager
def network_of_hosts(*names: str) -> Iterator[Network]:
    """Hosts of these names, all joined to one another and to this machine. Raises NoNamespaces where there can be none."""
    if sys.platform != "linux":
        raise NoNamespaces("only Linux has network namespaces")
    if importlib.util.find_spec("pyroute2") is None:
        raise NoNamespaces("no network namespaces without pyroute2: pip install pyroute2")
    _sweep()
    with contextlib.ExitStack() as stack:
        switch, *keepers, machine = (_start(stack, name) for name in ("switch", *names, ""))
        for keeper in (switch, *keepers, machine):
            keeper.wait_until_ready()
        addresses = _free_network(machine)
        try:
            switch.ask("make_switch")
            outside = Outside("outside", *_join(switch, machine, f"rl{machine.pid}", next(addresses)), machine)
            hosts = [
                Host(name, *_join(switch, keeper, _LINK, next(addresses)), keeper, switch)
                for name, keeper in zip(names, keepers, strict=True)
            ]
        except RuntimeError as error:
            raise NoNamespaces(f"no network can be made here: {error}") from error
        for host in hosts:
            stack.callback(host.close)
        for one, other in itertools.combinations(hosts, 2):
            one.heal(other)
        for host in hosts:
            host.heal(outside)
        yield Network({host.name: host for host in hosts}, outside)


def may_make_namespaces() -> bool:
    """Whether this user can make hosts on this machine: makes one, and takes it away."""
    try:
        with network_of_hosts("probe"):
            return True
    except NoNamespaces:
        return False


def _start(stack: contextlib.ExitStack, name: str) -> _Keeper:
    """Start a keeper; they come up side by side."""
    keeper = _Keeper(name)
    stack.callback(keeper.close)
    return keeper


def _free_network(machine: _Keeper) -> Iterator[str]:
    """The addresses of a network that this machine has no route to, and that no other process has chosen."""
    routes = [ipaddress.IPv4Network(route) for route in machine.ask("routes")]
    networks = list(_NETWORKS.subnets(new_prefix=24))
    first = secrets.randbelow(len(networks))
    for network in [*networks[first:], *networks[:first]]:
        taken = any(network.overlaps(route) for route in routes)
        if not taken and machine.ask("claim", name=f"namespaces of {network}"):
            return map(str, network.hosts())
    raise NoNamespaces(f"no free network in {_NETWORKS}")


def _join(switch: _Keeper, keeper: _Keeper, link: str, address: str) -> tuple[str, str, str]:
    """Join a namespace to the switch; return its address, its hardware address and its link."""
    switch.ask("join", port=_port(keeper), pid=keeper.pid, link=link)
    return address, str(keeper.ask("set_up", link=link, address=address, prefix=24)), link


def _port(keeper: _Keeper) -> str:
    return f"to{keeper.pid}"


def _sweep() -> None:
    """Kill the processes of hosts whose keepers were killed and could not do it themselves."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                variables = dict(entry.partition(b"=")[::2] for entry in (folder / "environ").read_bytes().split(b"\0"))
                pid, _, started = variables.get(_MARK.encode(), b"").decode().partition(".")
                if pid and started != _start_time(int(pid)):
                    os.kill(int(folder.name), signal.SIGKILL)


def _start_time(pid: int) -> str:
    """When a living process was started, in clock ticks since the machine was: with its pid, this names one process."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]
