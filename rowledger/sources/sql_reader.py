"""Run the query of a SQL source in a separate thread, so that every wait for the database is bounded.

The query is one statement with one cursor, so all rows come from one snapshot.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from rowledger.errors import RowledgerError, SourceError
from rowledger.sources.query_errors import QueryRefused

__all__ = ["DatabaseSession"]

T = TypeVar("T")

_CLOSE_TIMEOUT_S = 5.0


class _Closable(Protocol):
    def cancel(self) -> None: ...

    def close(self) -> None: ...


D = TypeVar("D", bound=_Closable)


class DatabaseSession(Generic[D]):
    """A thread that makes all calls to one database, one after another, each with a time limit."""

    def __init__(self, database: D, name: str) -> None:
        self.database = database
        self._name = name
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._last: Future[Any] = Future()
        self._last.set_result(None)
        threading.Thread(target=self._serve, daemon=True).start()  # a call that hangs must not keep the process alive

    def run(self, call: Callable[[], T], timeout_s: float, doing: str) -> T:
        """The call's result; raises SourceError when the call fails or takes longer than `timeout_s`."""
        try:
            return self._submit(call).result(timeout_s)
        except TimeoutError:
            problem = f"took longer than {timeout_s:g} s"
        except RowledgerError:
            raise
        except QueryRefused as refusal:
            problem = f"failed: {refusal}"
        except Exception as error:  # noqa: BLE001 - the driver's; its text may quote rows or the URL
            problem = f"failed ({type(error).__name__})"
        raise SourceError(f"{self._name}: {doing} {problem}; see to the database or fix the query, then rerun")

    def close(self) -> None:
        """Cancel a running call and close the connection, in bounded time; raises nothing."""
        if not self._last.done():
            # In a thread, since the cancel may hang too. It is awaited: nothing may be closed while the cancel runs.
            stopping = threading.Thread(target=self._stop_quietly, daemon=True)
            stopping.start()
            stopping.join(_CLOSE_TIMEOUT_S)
            if stopping.is_alive():
                return
        with contextlib.suppress(Exception):
            self._submit(self.database.close).result(_CLOSE_TIMEOUT_S)
        self._calls.put(None)

    def _submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._last = future
        self._calls.put((call, future))
        return future

    def _serve(self) -> None:
        while (work := self._calls.get()) is not None:
            call, future = work
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - the caller that waits for the result raises it
                future.set_exception(error)

    def _stop_quietly(self) -> None:
        with contextlib.suppress(Exception):
            self.database.cancel()
