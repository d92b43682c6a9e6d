"""Blocking work in a thread next to the event loop, with a time limit."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(work: Callable[[], T], *, timeout_s: float) -> T:
    """The result of the work, which runs in a new thread; raises TimeoutError when the work takes longer.

    Unlike with `asyncio.to_thread`, neither a cancel nor the end of the loop waits for a thread that hangs (a source on a dead
    mount, a FIFO). The thread is a daemon, so the end of the process does not wait for it either.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type] # without an error there is a result

    def run() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - the waiting caller raises it
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the caller with it
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True).start()
    async with asyncio.timeout(timeout_s):
        return await done
