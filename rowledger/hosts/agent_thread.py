"""An agent in a thread of its own, with its own event loop, whatever loop the engine has in its processes.

The thread lives as long as the process: workers are killed when the thread that started them ends.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine

from rowledger.hosts.agent import Agent
from rowledger.hosts.engine import Method

__all__ = ["AgentThread"]


class AgentThread:
    """An agent that any thread can call. `abandoned` is called, in the agent's thread, once its head is gone."""

    def __init__(self, *, abandoned: Callable[[], None]) -> None:
        self._loop = asyncio.new_event_loop()
        self._agent = Agent(abandoned=abandoned)
        self._waiting = self._loop.create_task(self._agent.wait_to_be_opened())
        threading.Thread(target=self._loop.run_forever, name="rowledger agent", daemon=True).start()

    def call(self, method: Method, message: bytes, files: bytes) -> "concurrent.futures.Future[bytes]":
        """Begin one of the agent's methods; the future has its answer."""
        agent = self._agent
        calls: dict[Method, Callable[[], Coroutine[None, None, bytes]]] = {
            "open": lambda: agent.open(message),
            "commit": lambda: agent.commit(message, files),
            "news": lambda: agent.news(message),
            "close": lambda: agent.close(message),
        }
        return asyncio.run_coroutine_threadsafe(calls[method](), self._loop)
