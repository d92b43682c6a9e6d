"""Hosts for tests that are processes of this machine: an engine with real agents, which can be killed, frozen and cut off.

An agent is this module run as a program. Frames pass over a socket: a header of JSON (`id`, `method`, and the lengths of what
follows), the message, the files.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import psutil

from pipeline_tests.support.waiting import wait_until
from rowledger.hosts import AgentHandle, AgentThread, HostGone, Method, Place
from rowledger.settings import child_environment

__all__ = ["ProcessHost", "ProcessHosts"]

_HEADER = struct.Struct(">I")


@dataclass(eq=False)
class ProcessHost:
    """A host of the engine. `environment` is that of its agent."""

    name: str
    environment: dict[str, str]
    identifier: str = ""
    agents: "list[_ProcessAgent]" = field(default_factory=list)
    calls: list[tuple[str, int | None]] = field(default_factory=list)
    """The calls that its agents were given: the method, and the number of the chunk."""
    is_cut: bool = False
    sent_bytes: int = 0
    """Bytes of files that were sent beside messages."""
    damage: bool = False
    """Whether the last byte of each file is another one when it arrives."""

    @property
    def agent_pid(self) -> int:
        """The pid of the latest agent."""
        return self.agents[-1].process.pid

    def processes(self) -> list[psutil.Process]:
        """The latest agent and all below it."""
        try:
            agent = psutil.Process(self.agent_pid)
            return [agent, *agent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> list[int]:
        """SIGKILL the agent and all below it, as a power cut does; returns their pids."""
        return self._signal(signal.SIGKILL)

    def freeze(self) -> list[int]:
        """Stop the agent and all below it; returns their pids."""
        return self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen host go on."""
        self._signal(signal.SIGCONT)

    def cut(self) -> None:
        """Let nothing pass between head and agent from now on, without telling either."""
        self.is_cut = True

    def wait_for_chunk(self, chunk_no: int) -> None:
        """Until the host was given this chunk."""
        wait_until(lambda: ("commit", chunk_no) in self.calls, f"host {self.name} is given chunk {chunk_no}")

    def wait_for_news(self) -> None:
        """Until two more polls were answered: the first may have been under way."""
        polls = self.calls.count(("news", None))
        wait_until(lambda: self.calls.count(("news", None)) >= polls + 2, f"host {self.name} tells its news")

    def _signal(self, number: int) -> list[int]:
        pids = [process.pid for process in self.processes()]
        assert pids, f"host {self.name} has no agent"
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids


class ProcessHosts:
    """An engine, and what a test does to its hosts. `close` ends the agents that a run has left."""

    def __init__(self, **environments: dict[str, str]) -> None:
        self._numbers = itertools.count(1)
        self.hosts: dict[str, ProcessHost] = {}
        for name, environment in environments.items():
            self.add(name, environment)
        self._agents: list[_ProcessAgent] = []

    def __getitem__(self, name: str) -> ProcessHost:
        return self.hosts[name]

    def add(self, name: str, environment: dict[str, str]) -> None:
        """A host that comes up."""
        self.hosts[name] = ProcessHost(name, environment, f"{name}-{next(self._numbers)}")

    def remove(self, name: str) -> None:
        """A host that is switched off."""
        self.hosts.pop(name).kill()

    def close(self) -> None:
        """End all agents."""
        for agent in self._agents:
            agent.process.kill()
            agent.process.wait(timeout=10)

    # ---- the engine -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    async def places(self) -> Sequence[Place]:
        return [Place(host.identifier, host.name, "127.0.0.1") for host in list(self.hosts.values())]

    async def start(self, place: Place) -> AgentHandle:
        host = self.hosts[place.name]
        agent = await _ProcessAgent.started(host)
        self._agents.append(agent)
        host.agents.append(agent)
        return agent


class _ProcessAgent:
    """The head's end of an agent's process."""

    def __init__(self, host: ProcessHost, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self._host = host
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    @classmethod
    async def started(cls, host: ProcessHost) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=child_environment(**{"ROWLEDGER_FAILPOINTS": "", **host.environment}),
            )
        agent = cls(host, process)
        agent._reader, agent._writer = await asyncio.open_connection(sock=ours)
        agent._listening = asyncio.create_task(agent._listen())
        return agent

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _listening: "asyncio.Task[None]"

    async def call(self, method: Method, message: bytes, files: bytes = b"") -> bytes:
        chunk_no = json.loads(message)["job"]["chunk"]["chunk_no"] if method == "commit" else None
        if self._listening.done():
            raise HostGone("has ended")
        number = next(self._ids)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._host.sent_bytes += len(files)
        if self._host.damage and files:
            files = files[:-1] + bytes([files[-1] ^ 1])
        if not self._host.is_cut:
            self._writer.write(_frame({"id": number, "method": method}, message, files))
        self._host.calls.append((method, chunk_no))
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def end(self) -> None:
        if not self._host.is_cut:  # what cannot be reached cannot be ended either
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
        self._listening.cancel()
        self._writer.close()

    async def _listen(self) -> None:
        try:
            while True:
                header, message, _ = await _read_frame(self._reader)
                if not self._host.is_cut and (waiting := self._waiting.get(header["id"])) is not None:
                    waiting.set_result(message)
        except (asyncio.IncompleteReadError, ConnectionError):
            for waiting in self._waiting.values():
                if not waiting.done() and not self._host.is_cut:
                    waiting.set_exception(HostGone("has ended"))


def _frame(header: dict[str, Any], message: bytes, files: bytes = b"") -> bytes:
    packed = json.dumps({**header, "message": len(message), "files": len(files)}).encode()
    return _HEADER.pack(len(packed)) + packed + message + files


async def _read_frame(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes, bytes]:
    (length,) = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    header = json.loads(await reader.readexactly(length))
    return header, await reader.readexactly(header["message"]), await reader.readexactly(header["files"])


async def _serve(channel: socket.socket) -> None:
    """The agent's side: calls go to the agent's thread, as under any engine."""
    reader, writer = await asyncio.open_connection(sock=channel)
    agent = AgentThread(abandoned=lambda: os._exit(1))
    answering: set[asyncio.Task[None]] = set()

    async def answer(header: dict[str, Any], message: bytes, files: bytes) -> None:
        answered = await asyncio.wrap_future(agent.call(header["method"], message, files))
        writer.write(_frame({"id": header["id"]}, answered))

    while True:
        try:
            frame = await _read_frame(reader)
        except asyncio.IncompleteReadError:  # the head is gone, or the link: silence is what tells
            await asyncio.Event().wait()
        task = asyncio.create_task(answer(*frame))
        answering.add(task)
        task.add_done_callback(answering.discard)


if __name__ == "__main__":
    asyncio.run(_serve(socket.socket(fileno=int(sys.argv[1]))))
