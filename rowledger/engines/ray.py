"""Hosts of a Ray cluster: one actor a node. Ray places it and carries calls to it; it retries and restarts nothing."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rowledger.errors import HostsUnavailable
from rowledger.extras import missing_extra
from rowledger.hosts import AgentHandle, AgentThread, AgentUnable, HostGone, Method, Place
from rowledger.machine import in_thread

try:
    import ray
    from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise missing_extra("ray") from error

__all__ = ["RayEngine"]

_CONNECT_S = 30.0
_LOOK_S, _LOOK_AGAIN_S = 10.0, 120.0
_LINE_MAX = 300
_NAMESPACE = "rowledger"


class _AgentActor:
    """The process of an agent on a node. Ray's threads run this method, and the agent's own thread all that is behind it."""

    def __init__(self) -> None:
        # Ray has folders with its own copies of libraries in the path, of which workers must not import.
        own = Path(ray.__file__).parent
        sys.path[:] = [folder for folder in sys.path if not Path(folder).is_relative_to(own)]
        self._thread = AgentThread(abandoned=lambda: os._exit(1))

    async def call(self, method: Method, message: bytes, files: bytes) -> bytes:
        return await asyncio.wrap_future(self._thread.call(method, message, files))


class _Connection:
    """The connection to Ray that this process has made: it has one at most, which all its runs use."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs = 0


_connection = _Connection()


class RayEngine:
    """The nodes of a Ray cluster. `address` is as for `ray.init`; empty: RAY_ADDRESS, or the cluster of this machine."""

    def __init__(self, address: str) -> None:
        self._address = address or os.environ.get("RAY_ADDRESS") or "auto"
        self._is_counted = False
        self._is_wanted = True
        self._looking_since: float | None = None

    async def __aenter__(self) -> Self:
        """Connect, unless this process is connected already; raises HostsUnavailable."""
        try:
            await in_thread(self._connect, timeout_s=_CONNECT_S)  # because it waits
            _take_signals_back()
        except BaseException as error:
            # Connecting may come to its end later than the wait for it.
            threading.Thread(target=self._disconnect, name="disconnect from Ray", daemon=True).start()
            if not isinstance(error, Exception):
                raise
            raise HostsUnavailable(
                f"no Ray cluster at {self._address} ({_line(error)}); start one with `ray start --head`, or set "
                "engine_address"
            ) from None
        return self

    def _connect(self) -> None:
        with _connection.lock:
            if not self._is_wanted:
                return
            if not ray.is_initialized():
                logging.getLogger("ray").setLevel(logging.ERROR)
                ray.init(
                    address=self._address,
                    namespace=_NAMESPACE,
                    log_to_driver=False,
                    configure_logging=False,
                    logging_level=logging.ERROR,
                )
            elif not _connection.runs:
                return  # the caller's own, which stays
            _connection.runs += 1
            self._is_counted = True

    def _disconnect(self) -> None:
        with _connection.lock:
            self._is_wanted = False
            if not self._is_counted:
                return
            self._is_counted = False
            _connection.runs -= 1
            if not _connection.runs:
                ray.shutdown()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect, where no other run of this process needs the connection. Ray ends the actors that are left."""
        with contextlib.suppress(Exception):
            await in_thread(self._disconnect, timeout_s=_LOOK_S)
        _take_signals_back()

    async def places(self) -> Sequence[Place]:
        """The nodes that Ray takes for alive and that have CPUs; raises HostGone where it does not answer.

        A node that was started with no CPUs is to work for nobody, by Ray's own convention for the head of a large cluster.
        """
        if self._looking_since is not None and time.monotonic() < self._looking_since + _LOOK_AGAIN_S:
            raise HostGone("Ray does not answer")
        try:
            nodes = await in_thread(self._look, timeout_s=_LOOK_S)
        except Exception as error:  # noqa: BLE001 - Ray raises classes of all kinds
            raise HostGone(f"Ray does not answer ({_line(error)})") from None
        alive = (node for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0) > 0)
        return sorted(map(_place, alive), key=lambda place: (place.name, place.address))

    def _look(self) -> list[dict[str, Any]]:
        """All nodes. A look that hangs keeps its thread, so the next one is not begun soon."""
        self._looking_since = time.monotonic()
        try:
            nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
            return nodes
        finally:
            self._looking_since = None

    async def start(self, place: Place) -> AgentHandle:
        """Start an agent on a node. Whether it comes up is seen by its first answer."""
        options: dict[str, Any] = {
            "num_cpus": 0,  # the agent judges its host's CPUs and memory itself
            "max_restarts": 0,
            "max_task_retries": 0,
            "max_concurrency": 1000,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id=place.identifier, soft=False),
        }
        try:
            actor = await in_thread(lambda: ray.remote(_AgentActor).options(**options).remote(), timeout_s=_LOOK_S)
        except Exception as error:  # noqa: BLE001 - Ray raises classes of all kinds
            raise HostGone(f"got no agent from Ray ({_line(error)})") from None
        return _RayAgent(actor)


class _RayAgent:
    """The head's end of an actor."""

    def __init__(self, actor: Any) -> None:  # noqa: ANN401 - Ray's handles have no type
        self._actor = actor

    async def call(self, method: Method, message: bytes, files: bytes = b"") -> bytes:
        """The actor's answer; raises HostGone or AgentUnable for whatever Ray raises."""
        try:
            answer: bytes = await asyncio.wrap_future(self._actor.call.remote(method, message, files).future())
        except RayError as error:
            raise _gone(error) from None
        return answer

    async def end(self) -> None:
        with contextlib.suppress(Exception):
            await in_thread(lambda: ray.kill(self._actor, no_restart=True), timeout_s=_LOOK_S)


def _take_signals_back() -> None:
    """Have Python's own handlers again: Ray's core aborts the process on SIGTERM, and leaves the default action behind it.

    It does so below Python, which still knows the handlers. Only the main thread may set them.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if (handler := signal.getsignal(number)) is not None:
                signal.signal(number, handler)
                signal.siginterrupt(number, False)  # noqa: FBT003 - as asyncio has it


def _gone(error: RayError) -> HostGone:
    """What has become of a host, in words that people can act upon; Ray's own have a page."""
    text = str(error)
    match error:
        case ActorUnavailableError():
            return HostGone("cannot be reached: the connection to its agent was lost")
        case ActorDiedError() if "creation task" in text:  # the node cannot import the actor's class
            return AgentUnable(f"its agent cannot start there: {_lines(error)[-1]}")
        case ActorDiedError() if "node has died" in text:
            return HostGone("is gone: its Ray node has died")
        case ActorDiedError():
            return HostGone("has lost its agent: the process has died")
        case _:
            return HostGone(f"does not answer: {_line(error)}")


def _place(node: dict[str, Any]) -> Place:
    """A node by the name that it was given with `ray start --node-name`, or else by its machine's."""
    given, address = node.get("NodeName") or "", node["NodeManagerAddress"]
    return Place(node["NodeID"], node["NodeManagerHostname"] if given in {"", address} else given, address)


def _line(error: BaseException) -> str:
    """The class and the first line of an error, most of which have pages in Ray."""
    return ": ".join([type(error).__name__, *_lines(error)[:1]])


def _lines(error: BaseException) -> list[str]:
    return [line.strip()[:_LINE_MAX] for line in str(error).splitlines() if line.strip()]
