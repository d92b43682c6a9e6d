"""Hosts for runs that are processes of their own: each host is a relay here, and behind it an agent for each run.

The relay is the host's network. What passes between a head and its agent can be held up or slowed down there, and so can what
passes between the host and PostgreSQL, by a proxy of each host. Runs read in a file which hosts there are (`LinkedEngine`).
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil

from pipeline_tests.support.agent_channel import AgentChannel, agent_program
from pipeline_tests.support.proxy import Proxy
from pipeline_tests.support.waiting import worker_pids
from rowledger.hosts import AgentHandle, HostGone, Method, Place
from rowledger.settings import child_environment

__all__ = ["HOSTS_FILE", "LinkedEngine", "LinkedHost", "LinkedHosts", "RunHosts"]

T = TypeVar("T")
HOSTS_FILE = "TEST_HOSTS_FILE"
"""Variable of a run's environment: the file that says which hosts there are."""

_ADDRESS = "127.0.0.1"
_ANSWER_S = 60.0
_READ_BYTES = 64 * 2**10


@dataclass(eq=False)
class _Agent:
    """An agent, and the head's process that has it."""

    process: "subprocess.Popen[Any]"
    head_pid: int

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None


@dataclass(eq=False)
class LinkedHost:
    """A host. It comes back as another one with another identifier after it was killed."""

    name: str
    identifier: str
    home: Path
    proxy: Proxy
    port: int = 0
    delay_s: float = 0.0
    """That all that passes between head and agent takes longer."""
    is_dead: bool = False
    agents: list[_Agent] = field(default_factory=list)
    listener: asyncio.Server | None = None
    passing: asyncio.Event = field(default_factory=asyncio.Event)

    def agent_pids(self) -> list[int]:
        """The agents that are alive."""
        return [agent.process.pid for agent in self.agents if agent.is_alive]

    def pids(self) -> list[int]:
        """The agents and all below them."""
        found = []
        for pid in self.agent_pids():
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        return found

    def signal(self, number: int) -> list[int]:
        """Send all of its processes a signal; returns their pids."""
        pids = self.pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids


class LinkedHosts:
    """Hosts of these names, as a context manager; they reach `database_url`, each through a proxy of its own."""

    def __init__(self, folder: Path, database_url: str, names: Sequence[str]) -> None:
        self.file = folder / "hosts.json"
        self._folder = folder
        self._database_url = database_url
        self._names = names
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hosts", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = contextlib.ExitStack()
        self._all: list[LinkedHost] = []
        self.up: dict[str, LinkedHost] = {}
        """The hosts that the engine has, by name."""

    def __enter__(self) -> Self:
        self._thread.start()
        for name in self._names:
            self.add(name)
        return self

    def __exit__(self, *_error: object) -> None:
        for host in self._all:
            host.signal(signal.SIGKILL)
        for host in self._all:
            for agent in host.agents:
                agent.process.wait(timeout=10)
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_S)
        self._loop.close()
        self._ending.close()

    def run_options(self) -> dict[str, Any]:
        """What `run_process.start` has to know for a run whose chunks are to be committed here."""
        return {"hosts_file": self.file, "engine": "ray"}

    def add_new(self) -> LinkedHost:
        """A host that there was not before."""
        return self.add(f"added{next(self._numbers)}")

    # ---- what befalls hosts ----------------------------------------------------------------------------------------------

    def add(self, name: str) -> LinkedHost:
        """A host that comes up."""
        proxy = self._ending.enter_context(Proxy(self._database_url))
        identifier = f"{name}-{next(self._numbers)}"
        home = self._folder / f"home-of-{name}"
        host = self._run(self._listening(LinkedHost(name, identifier, home, proxy)))
        self._all.append(host)
        self.up[name] = host
        self._write_file()
        return host

    def take_away(self, host: LinkedHost) -> None:
        """A host that the engine has no longer; what is at work there goes on."""
        if self.up.get(host.name) is host:
            del self.up[host.name]
            self._write_file()

    def kill(self, host: LinkedHost, *, silently: bool) -> list[int]:
        """SIGKILL all of a host, as a power cut does; returns the pids. Where it ends silently, no head is told."""
        self.take_away(host)
        self._call(lambda: self._unplug(host, silently=silently))
        killed = host.signal(signal.SIGKILL)
        host.proxy.cut_all()  # a frozen connection ends too, as keepalives would have it
        return killed

    def cut(self, host: LinkedHost) -> None:
        """Let nothing pass between heads and this host, without telling either side."""
        self._call(host.passing.clear)

    def heal(self, host: LinkedHost) -> None:
        """Let what was held up arrive, and all that comes after it."""
        self._call(lambda: None if host.is_dead else host.passing.set())

    def workers_of(self, head_pid: int) -> list[tuple[LinkedHost, int]]:
        """The workers on hosts that are up, of one run."""
        return [
            (host, pid)
            for host in list(self.up.values())
            for agent in host.agents
            if agent.head_pid == head_pid and agent.is_alive
            for pid in worker_pids(agent.process.pid)
        ]

    def homes(self) -> set[Path]:
        """ROWLEDGER_HOME of each host that there was."""
        return {host.home for host in self._all}

    # ---- the network -----------------------------------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_S)

    def _call(self, change: Callable[[], object]) -> None:
        async def call() -> None:
            change()

        self._run(call())

    async def _listening(self, host: LinkedHost) -> LinkedHost:
        host.passing.set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(host, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        host.listener = await asyncio.start_server(accept, _ADDRESS, 0)
        host.port = host.listener.sockets[0].getsockname()[1]
        return host

    def _unplug(self, host: LinkedHost, *, silently: bool) -> None:
        host.is_dead = True
        if host.listener is not None:
            host.listener.close()
        if silently:
            host.passing.clear()

    async def _serve(self, host: LinkedHost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Start an agent for the head that has connected, and pass on what they say to each other."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                order = json.loads(await reader.readline() or b"null")
                await host.passing.wait()
                if order is None or host.is_dead:
                    return
                agent_reader, agent_writer = await self._started(host, order)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(_relay(host, reader, agent_writer))
                        group.create_task(_relay(host, agent_reader, writer))
                finally:
                    agent_writer.close()
            finally:
                writer.close()

    async def _started(
        self, host: LinkedHost, order: dict[str, Any]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                agent_program(theirs),
                pass_fds=[theirs.fileno()],
                env=child_environment(
                    ROWLEDGER_DATABASE_URL=host.proxy.url,
                    ROWLEDGER_HOME=str(host.home),
                    ROWLEDGER_FAILPOINTS=order["failpoints"],
                ),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        host.agents.append(_Agent(process, order["pid"]))
        return await asyncio.open_connection(sock=ours)

    async def _close(self) -> None:
        for host in self._all:
            if host.listener is not None:
                host.listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _write_file(self) -> None:
        """At once for whoever reads it."""
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps([[host.identifier, host.name, host.port] for host in self.up.values()]))
        beside.replace(self.file)


class RunHosts(LinkedHosts):
    """Hosts on which whole runs are. What is done to a host is done to the runs on it, and to all below them."""

    def place(self) -> LinkedHost:
        """The host for the next run: that with the fewest."""
        return min(self.up.values(), key=lambda host: len(host.agent_pids())) if self.up else self.add("another")

    def run_options(self) -> dict[str, Any]:
        return {}

    def began(self, host: LinkedHost, run: "subprocess.Popen[Any]") -> None:
        """A run was started on this host."""
        host.agents.append(_Agent(run, head_pid=0))


async def _relay(host: LinkedHost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, and its end, as the network of the host is at that time."""
    with contextlib.suppress(OSError):
        while data := await reader.read(_READ_BYTES):
            if host.delay_s:
                await asyncio.sleep(host.delay_s)
            await host.passing.wait()
            writer.write(data)
            await writer.drain()
    await host.passing.wait()
    writer.close()


class LinkedEngine:
    """The engine of a run whose hosts are listed in the file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ports: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    async def places(self) -> Sequence[Place]:
        listed = json.loads(self._file.read_text())
        self._ports = {identifier: port for identifier, _, port in listed}
        return [Place(identifier, name, _ADDRESS) for identifier, name, _ in listed]

    async def start(self, place: Place) -> AgentHandle:
        if (port := self._ports.get(place.identifier)) is None:
            raise HostGone("is no longer there")
        try:
            reader, writer = await asyncio.open_connection(_ADDRESS, port)
        except OSError as error:
            raise HostGone(f"cannot be reached: {error}") from None
        order = {"pid": os.getpid(), "failpoints": os.environ.get("ROWLEDGER_FAILPOINTS", "")}
        writer.write(json.dumps(order).encode() + b"\n")
        return _LinkedAgent(AgentChannel(reader, writer))


class _LinkedAgent:
    """The head's end of an agent."""

    def __init__(self, channel: AgentChannel) -> None:
        self._channel = channel

    async def call(self, method: Method, message: bytes, files: bytes = b"") -> bytes:
        return await self._channel.call(method, message, files)

    async def end(self) -> None:
        self._channel.end_agent()
        self._channel.close()
