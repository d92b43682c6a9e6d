"""Agents that come up while the run begins: an engine takes a second or two to connect, and as long again to start one."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rowledger.hosts.engine import UNOPENED_S, AgentHandle, Engine, HostGone, Place
from rowledger.machine import in_thread

__all__ = ["EarlyHosts"]

_IMPORT_S = 60.0
_FRESH_S = UNOPENED_S / 2


class EarlyHosts:
    """An engine, as an async context manager, that connects and starts agents at once, in the background.

    `make` imports the engine. At most `hosts_max` agents are started early. Those that were not asked for end with the block.
    """

    def __init__(self, make: Callable[[], Engine], hosts_max: int) -> None:
        self._make = make
        self._hosts_max = hosts_max
        self._agents: dict[str, tuple[AgentHandle, float]] = {}  # and when they were started
        self._ending = contextlib.AsyncExitStack()
        self._starting: asyncio.Task[Engine] | None = None

    async def __aenter__(self) -> Self:
        self._starting = asyncio.create_task(self._start(), name="engine")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the agents that were not asked for, and disconnect."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await asyncio.gather(*(agent.end() for agent, _ in self._agents.values()), return_exceptions=True)
        await self._ending.aclose()

    async def places(self) -> Sequence[Place]:
        """See Engine; raises what connecting raises too."""
        return await (await self._connected()).places()

    async def start(self, place: Place) -> AgentHandle:
        """The agent that was started there early, or a new one where that may have given up: a run may wait to begin."""
        engine = await self._connected()
        if (early := self._agents.pop(place.identifier, None)) is not None:
            agent, started_at = early
            if asyncio.get_running_loop().time() - started_at < _FRESH_S:
                return agent
            await agent.end()
        return await engine.start(place)

    async def _connected(self) -> Engine:
        assert self._starting is not None  # noqa: S101 - within the block
        return await asyncio.shield(self._starting)

    async def _start(self) -> Engine:
        engine = await in_thread(self._make, timeout_s=_IMPORT_S)
        await self._ending.enter_async_context(engine)
        places: Sequence[Place] = ()
        with contextlib.suppress(HostGone):  # who asks for the hosts hears of it
            places = await engine.places()
        for place in places[: self._hosts_max]:
            with contextlib.suppress(HostGone):
                self._agents[place.identifier] = (await engine.start(place), asyncio.get_running_loop().time())
        return engine
