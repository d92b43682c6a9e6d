"""Blocking work in a thread next to the event loop. Every wait is bounded.

Unlike with `asyncio.to_thread`, neither a cancel nor the end of the loop waits for a thread that hangs (a source on a dead
mount, a FIFO). The threads are daemons, so the end of the process does not wait for them either.
"""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Generic, TypeVar

__all__ = ["in_thread", "iterate_in_thread"]

T = TypeVar("T")

_AHEAD_MAX = 16


class _End:
    """The mark after the last item."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Producer(Generic[T]):
    """The thread's side: takes items from the iterator until it ends, it fails, or the reader stops.

    At most `_AHEAD_MAX` items wait for the reader; then the thread waits, with the next one in its hand.
    """

    def __init__(self, start: Callable[[], Iterator[T]], loop: asyncio.AbstractEventLoop) -> None:
        self._start = start
        self._loop = loop
        self._is_wanted = True
        self._room = threading.Semaphore(_AHEAD_MAX)
        self.items: asyncio.Queue[T | _End] = asyncio.Queue()
        self.ended = asyncio.Event()

    def run(self) -> None:
        error: BaseException | None = None
        try:
            items = self._start()
            try:
                for item in items:
                    self._room.acquire()
                    if not self._is_wanted:
                        break
                    self._tell(self.items.put_nowait, item)
            finally:
                if (close := getattr(items, "close", None)) is not None:
                    close()  # a generator's `finally` blocks run here, in the thread that started it
        except BaseException as raised:  # noqa: BLE001 - the reader raises it
            error = raised
        self._tell(self.items.put_nowait, _End(error))
        self._tell(self.ended.set)

    def item_taken(self) -> None:
        self._room.release()

    def stop(self) -> None:
        self._is_wanted = False
        self._room.release()  # the thread may be waiting

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the reader with it
            self._loop.call_soon_threadsafe(call, *arguments)


@contextlib.asynccontextmanager
async def iterate_in_thread(
    start: Callable[[], Iterator[T]], *, item_timeout_s: float, close_timeout_s: float
) -> AsyncIterator[AsyncIterator[T]]:
    """Yield the items of the iterator that `start` returns. Reading raises TimeoutError when an item takes too long.

    The iterator is at most a few items ahead of the reader.

    When the block ends, the iterator is closed after its current item. The exit waits for that at most `close_timeout_s`.
    """
    producer = _Producer(start, asyncio.get_running_loop())
    # With the caller's context variables: code that a user wrote may ask Dagster for the current asset's context.
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(producer.run,), daemon=True).start()

    async def read() -> AsyncIterator[T]:
        while True:
            async with asyncio.timeout(item_timeout_s):
                item = await producer.items.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            producer.item_taken()
            yield item

    try:
        yield read()
    finally:
        producer.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(close_timeout_s):
                await producer.ended.wait()


async def in_thread(work: Callable[[], T], *, timeout_s: float) -> T:
    """The result of the work, which runs in a new thread; raises TimeoutError when the work takes longer."""

    def once() -> Iterator[T]:
        yield work()

    async with iterate_in_thread(once, item_timeout_s=timeout_s, close_timeout_s=0) as results:
        (result,) = [result async for result in results]
        return result
