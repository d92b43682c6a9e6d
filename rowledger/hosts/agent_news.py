"""What an agent has to tell, until the head has heard it."""

import asyncio
import collections
import contextlib

from rowledger.hosts.messages import NewsItem
from rowledger.workers import LogLine

__all__ = ["AgentNews"]

_TOGETHER_S = 0.05  # several workers get a chunk at nearly the same time
_KEPT_MAX = 2_000  # log lines of a host whose head does not ask; incidents are in the ledger too


class AgentNews:
    """A numbered queue. An item is kept until a poll says that it was seen, so that a lost answer loses none."""

    def __init__(self) -> None:
        self._items: collections.deque[tuple[int, NewsItem]] = collections.deque(maxlen=_KEPT_MAX)
        self._last = 0
        self._changed = asyncio.Event()

    def tell(self, item: NewsItem) -> None:
        """Add an item, and wake the poll that waits."""
        self._last += 1
        self._items.append((self._last, item))
        self._changed.set()

    def log(self, level: int, text: str) -> None:
        self.tell(LogLine(level=level, text=text))

    def wake(self) -> None:
        """Have the poll that waits answered soon: what a worker does has changed."""
        self._changed.set()

    async def after(self, seen: int, wait_s: float) -> tuple[tuple[NewsItem, ...], int]:
        """The items after number `seen`, and the number of the last one. Waits until there is something new."""
        while self._items and self._items[0][0] <= seen:
            self._items.popleft()
        if not self._items:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
                    if not self._items:
                        await asyncio.sleep(_TOGETHER_S)
        self._changed.clear()
        return tuple(item for _, item in self._items), self._last
