"""What Rowledger asks of an engine: to say which hosts there are, to start an agent on one, and to carry calls to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

__all__ = ["UNOPENED_S", "AgentHandle", "AgentUnable", "Engine", "HostGone", "Method", "Place"]

UNOPENED_S = 120.0
"""Seconds after which an agent that has no work, or has none any more, ends itself: nobody else may be left to do so."""

Method = Literal["open", "commit", "news", "close"]


class HostGone(Exception):
    """A host, or the way to it, is gone: the call may have had its effect or not."""


class AgentUnable(HostGone):
    """No agent can run on a host as it is, such as for want of Rowledger there: another try would fail the same way."""


@dataclass(frozen=True, slots=True)
class Place:
    """A host as the engine knows it: an identifier that no other host ever has, the machine's name, its address."""

    identifier: str
    name: str
    address: str


class AgentHandle(Protocol):
    """The head's end of one agent."""

    async def call(self, method: Method, message: bytes, files: bytes = b"") -> bytes:
        """The agent's answer; raises HostGone and AgentUnable. It may take for ever, and may be cancelled."""

    async def end(self) -> None:
        """End the agent's process without asking it, as far as it can be reached. Raises nothing and returns soon."""


class Engine(Protocol):
    """A connection to an engine, as an async context manager. It starts no agent a second time."""

    async def __aenter__(self) -> Self:
        """Connect; raises HostsUnavailable."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""

    async def places(self) -> Sequence[Place]:
        """The hosts that are there now, the head's own machine among them where it belongs to the engine; raises HostGone."""

    async def start(self, place: Place) -> AgentHandle:
        """Start an agent there; raises HostGone."""
