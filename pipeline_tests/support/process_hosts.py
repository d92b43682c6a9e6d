"""Hosts for tests that are processes of this machine: an engine with real agents, which can be killed, frozen and cut off."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psutil

from pipeline_tests.support.agent_channel import AgentChannel, agent_program
from pipeline_tests.support.waiting import wait_until
from rowledger.hosts import AgentHandle, Method, Place
from rowledger.settings import child_environment

__all__ = ["ProcessHost", "ProcessHosts"]


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
    damaged: int = 0
    """Of so many of the next transfers of files the last byte is another one when it arrives."""
    outlives_head: bool = False
    """Whether its agents are not ended by their head, as if that had died first."""

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

    def __init__(self, host: ProcessHost, process: "subprocess.Popen[bytes]", channel: AgentChannel) -> None:
        self.process = process
        self._host = host
        self._channel = channel

    @classmethod
    async def started(cls, host: ProcessHost) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                agent_program(theirs),
                pass_fds=[theirs.fileno()],
                env=child_environment(**{"ROWLEDGER_FAILPOINTS": "", **host.environment}),
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(host, process, AgentChannel(reader, writer, is_passed=lambda: not host.is_cut))

    async def call(self, method: Method, message: bytes, files: bytes = b"") -> bytes:
        chunk_no = json.loads(message)["job"]["chunk"]["chunk_no"] if method == "commit" else None
        self._host.sent_bytes += len(files)
        if self._host.damaged and files:
            self._host.damaged -= 1
            files = files[:-1] + bytes([files[-1] ^ 1])
        calling = asyncio.ensure_future(self._channel.call(method, message, files))
        await asyncio.sleep(0)  # it is on its way before a test sees that it was given
        self._host.calls.append((method, chunk_no))
        try:
            return await calling
        finally:
            calling.cancel()

    async def end(self) -> None:
        if not self._host.is_cut and not self._host.outlives_head:  # what cannot be reached cannot be ended either
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
        self._channel.close()
