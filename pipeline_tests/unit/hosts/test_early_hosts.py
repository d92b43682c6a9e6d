"""Agents that are started early: they serve the run that begins in time, and are ended by one that does not."""

import asyncio
import importlib
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import pytest

from rowledger.hosts.early_hosts import EarlyHosts
from rowledger.hosts.engine import AgentHandle, HostGone, Method, Place

_PLACES = [Place(f"{name}-1", name, "127.0.0.1") for name in ("north", "south", "west")]


class _Agent:
    def __init__(self, place: Place) -> None:
        self.place = place
        self.has_ended = False

    async def call(self, method: Method, message: bytes, files: bytes = b"") -> bytes:
        raise HostGone(f"{method} {message!r} {files!r}")

    async def end(self) -> None:
        self.has_ended = True


class _Engine:
    """An engine whose host `without` gets no agent."""

    def __init__(self, without: str = "") -> None:
        self.agents: list[_Agent] = []
        self._without = without

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    async def places(self) -> Sequence[Place]:
        return _PLACES

    async def start(self, place: Place) -> AgentHandle:
        if place.name == self._without:
            raise HostGone("got no agent")
        self.agents.append(_Agent(place))
        return self.agents[-1]


def test_an_agent_that_was_started_early_is_the_one_that_the_run_gets() -> None:
    async def scenario(engine: _Engine) -> AgentHandle:
        async with EarlyHosts(lambda: engine, 2) as early:
            return await early.start(_PLACES[1])

    engine = _Engine()
    assert asyncio.run(scenario(engine)) is engine.agents[1]
    assert [agent.has_ended for agent in engine.agents] == [True, False]


def test_an_early_agent_that_may_have_given_up_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("rowledger.hosts.early_hosts"), "_FRESH_S", 0.0)

    async def scenario(engine: _Engine) -> AgentHandle:
        async with EarlyHosts(lambda: engine, 1) as early:
            return await early.start(_PLACES[0])

    engine = _Engine()
    assert asyncio.run(scenario(engine)) is engine.agents[1]
    assert [agent.has_ended for agent in engine.agents] == [True, False]


def test_a_host_that_gets_no_agent_keeps_no_other_from_starting_early() -> None:
    async def scenario(engine: _Engine) -> None:
        async with EarlyHosts(lambda: engine, 3) as early:
            await early.places()

    engine = _Engine(without="south")
    asyncio.run(scenario(engine))
    assert [agent.place.name for agent in engine.agents] == ["north", "west"]
    assert all(agent.has_ended for agent in engine.agents)
