"""Run a load to its end or to the first interrupt, and clean up in both cases.

Dagster's handlers for SIGTERM and SIGINT raise in whatever code the main thread happens to run. Inside an event loop
that may be any task, and asyncio keeps a BaseException that is not KeyboardInterrupt with that task: the interrupt
would be lost. So while a load runs, the loop itself takes the signals, cancels the load, waits for its clean-up, and
then hands the signal to the previous handler.
"""

import asyncio
import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from rowledger.errors import LoadCancelled
from rowledger.postgres import tell_without_text

__all__ = ["run_interruptible"]

T = TypeVar("T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_interruptible(load: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine in a fresh event loop.

    Once the load has cleaned up, raises what the previous signal handler raises (KeyboardInterrupt, Dagster's
    DagsterExecutionInterruptedError), or LoadCancelled where that handler raises nothing, or where the process that
    started this one has died.
    """
    received: list[int] = []

    async def guarded() -> T:
        task = asyncio.ensure_future(load)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(tell_without_text)

        def interrupt(number: int) -> None:
            if not received:  # clean-up is bounded in time; a second Ctrl-C must not cut it short
                received.append(number)
                task.cancel()

        with _signals_to(loop, interrupt), _orphaned_to(loop, interrupt):
            try:
                return await task
            except asyncio.CancelledError:
                if received:
                    raise LoadCancelled(_reason(received[0])) from None
                raise

    try:
        return asyncio.run(guarded())
    finally:
        if received and received[0] in _SIGNALS:
            handler = signal.getsignal(received[0])
            if callable(handler):
                handler(received[0], None)


def _reason(number: int) -> str:
    if number in _SIGNALS:
        return f"interrupted by {signal.Signals(number).name}; committed chunks stay, a rerun resumes behind them"
    return "the process that started this run has died; committed chunks stay, a rerun resumes behind them"


@contextlib.contextmanager
def _signals_to(loop: asyncio.AbstractEventLoop, interrupt: Any) -> Iterator[None]:  # noqa: ANN401 - a callback
    """Route SIGINT and SIGTERM into the loop, and restore their handlers afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals and may set handlers
        return
    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt, number)
    try:
        yield
    finally:
        for number, handler in previous.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


@contextlib.contextmanager
def _orphaned_to(loop: asyncio.AbstractEventLoop, interrupt: Any) -> Iterator[None]:  # noqa: ANN401 - a callback
    """Interrupt the load when the run worker dies: Dagster leaves the step's process running when its parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        yield
        return
    loop.add_reader(parent.sentinel, interrupt, 0)
    try:
        yield
    finally:
        loop.remove_reader(parent.sentinel)
