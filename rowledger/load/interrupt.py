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
from collections.abc import Callable, Coroutine, Iterator
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

        with _interrupts_to(loop, interrupt):
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
def _interrupts_to(loop: asyncio.AbstractEventLoop, interrupt: Callable[[int], None]) -> Iterator[None]:
    """Route SIGINT, SIGTERM and the death of the parent process into the loop, and restore the handlers afterwards.

    Dagster leaves the step's process running when its parent, the run worker, is killed.
    """
    with contextlib.ExitStack() as restoring:
        if threading.current_thread() is threading.main_thread():  # only it receives signals and may set handlers
            for number in _SIGNALS:
                restoring.callback(signal.signal, number, signal.getsignal(number))
                loop.add_signal_handler(number, interrupt, number)
                restoring.callback(loop.remove_signal_handler, number)
        if (parent := multiprocessing.parent_process()) is not None:
            loop.add_reader(parent.sentinel, interrupt, 0)
            restoring.callback(loop.remove_reader, parent.sentinel)
        yield
