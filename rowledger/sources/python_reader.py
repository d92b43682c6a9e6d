"""Run the function of a Python source and put its rows into frames.

The function runs in a producer, a process of its own; rows that are given with a load, in the process that gives them. Nothing
is published when it raises an error or its process dies.
"""

import asyncio
import contextlib
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from time import monotonic
from typing import Any

import polars as pl
from pydantic import BaseModel

from rowledger.errors import RowledgerError, SourceError
from rowledger.sources.dataframes import frames_of, holds_many
from rowledger.sources.frame_builder import Fault, FrameBuilder, Unfit

__all__ = ["FunctionRows"]

_BATCH_ROWS = 8_192
_BATCH_BYTES = 16 * 2**20
_LOOK_ROWS = 8  # the size of every eighth row is measured: measuring each row took a third of the time
_CHUNK_S = 60.0
_END = object()


class FunctionRows:
    """The rows of one call, as frames."""

    def __init__(self, name: str, call: Callable[[], object], columns: tuple[str, ...], columns_max: int) -> None:
        """`name` is the function's name for messages; `columns` are the contract's."""
        self._name = name
        self._builder = FrameBuilder(columns, columns_max=columns_max)
        self._items = _items(name, call)
        self._overdue_at = monotonic() + _CHUNK_S
        self._given = 0

    def chunk_given(self) -> None:
        self._overdue_at = monotonic() + _CHUNK_S

    def close(self) -> None:
        """Run the function's `finally` blocks; errors that they raise are ignored."""
        with contextlib.suppress(Exception):
            self._items.close()

    def frames(self) -> Iterator[pl.DataFrame | None]:
        """Yield frames, and None whenever a chunk is overdue; raises SourceError."""
        batch: list[dict[str, Any] | Fault] = []
        batch_bytes = 0
        while (item := self._next(len(batch))) is not _END:
            is_overdue = monotonic() >= self._overdue_at
            if not holds_many(item):
                batch.append(row := self._builder.take(item))  # at once: the function may reuse the item
                if len(batch) % _LOOK_ROWS == 0:
                    batch_bytes += _LOOK_ROWS * _content_bytes(row)
                if len(batch) < _BATCH_ROWS and batch_bytes < _BATCH_BYTES and not is_overdue:
                    continue
            if batch:
                yield self._frame(batch)
                batch, batch_bytes = [], 0
            if holds_many(item):
                for frame in frames_of(item, origin=self._name):
                    self._given += frame.height
                    yield frame
            if is_overdue:
                self.chunk_given()
                yield None
        if batch:
            yield self._frame(batch)

    def _next(self, waiting_rows: int) -> object:
        """The next item; an exception of the function becomes a SourceError with its type and call stack, not its text."""
        try:
            return next(self._items, _END)
        except RowledgerError:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit or CancelledError of the function must not end the run
            kind, frames = type(error), traceback.format_tb(error.__traceback__)
        raise SourceError(
            f"{self._name} raised {kind.__module__}.{kind.__qualname__} behind {self._given + waiting_rows} rows; "
            "the run's log has where; fix it and rerun",
            source_traceback="".join(frames),
        )

    def _frame(self, batch: list[dict[str, Any] | Fault]) -> pl.DataFrame:
        try:
            frame = self._builder.frame(batch)
        except Unfit as unfit:
            raise SourceError(f"{self._name}: {unfit}, from row {self._given} on; name them alike and rerun") from None
        self._given += frame.height
        return frame


def _items(name: str, call: Callable[[], object]) -> Generator[object, None, None]:
    """The items that the function yields; the items of a list one by one."""
    with asyncio.Runner() as runner:  # starts no loop unless it is used
        produced = call()
        if isinstance(produced, Coroutine):
            produced = runner.run(produced)
        if isinstance(produced, AsyncIterator):
            produced = _synchronous(produced, runner)
        if holds_many(produced):
            yield produced
            return
        if not isinstance(produced, Iterable) or isinstance(produced, str | bytes | Mapping | BaseModel):
            raise SourceError(
                f"{name} gave one {type(produced).__qualname__}; it has to yield rows, or return an iterable of them"
            )
        iterator = iter(produced)
        try:
            for item in iterator:
                if isinstance(item, list):
                    yield from item
                else:
                    yield item
        finally:
            if isinstance(iterator, Generator):
                iterator.close()


def _synchronous(items: AsyncIterator[object], runner: asyncio.Runner) -> Generator[object, None, None]:
    async def next_item() -> object:
        return await anext(items, _END)

    try:
        while (item := runner.run(next_item())) is not _END:
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            runner.run(items.aclose())


def _content_bytes(row: dict[str, Any] | Fault) -> int:
    """The approximate size of a row; a nested value counts as 8 bytes."""
    values = row.values() if isinstance(row, dict) else (row.line,)
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in values)
