"""Run the function of a Python source and put its rows into frames.

The function runs in a producer, a process of its own; rows that are given with a load, in the process that gives them. Nothing
is published when it raises an error or its process dies.
"""

import asyncio
import contextlib
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from time import monotonic

import polars as pl
import pyarrow as pa
from pydantic import BaseModel

from rowledger.errors import RowledgerError, SourceError
from rowledger.sources.dataframes import frames_of, holds_many, own
from rowledger.sources.frame_builder import FrameBuilder, Unfit, frame_of_table
from rowledger.sources.row_readers import is_row_class
from rowledger.sources.spool_writer import SplitBatch

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
        self._batch = _Batch(FrameBuilder(columns, columns_max=columns_max))
        self._items = _items(name, call)
        self._overdue_at = monotonic() + _CHUNK_S
        self._row_classes: set[type] = {dict}
        self._given = 0

    def chunk_given(self) -> None:
        self._overdue_at = monotonic() + _CHUNK_S

    def close(self) -> None:
        """Run the function's `finally` blocks; errors that they raise are ignored."""
        with contextlib.suppress(Exception):
            self._items.close()

    def frames(self) -> Iterator[pl.DataFrame | pa.Table | SplitBatch | None]:
        """Yield what the spool takes, and None whenever a chunk is overdue; raises SourceError.

        The types of single rows are found out for a batch of them at a time, which never depends on how fast the rows come.
        """
        while (item := self._next()) is not _END:
            is_overdue = monotonic() >= self._overdue_at
            is_row = self._is_row(item)
            if is_row:
                self._add(item)  # at once: the function may reuse the item
                if not (self._batch.is_full or is_overdue):
                    continue
            if self._batch.rows:
                yield self._take_batch(is_complete=not is_row or self._batch.is_full)
            if not is_row:
                for frame in frames_of(item, origin=self._name):
                    self._given += frame.height
                    yield frame
            if is_overdue:
                self.chunk_given()
                yield None
        if self._batch.rows:
            yield self._take_batch(is_complete=True)

    def own_frames(self) -> Iterator[pl.DataFrame | None]:
        """The same rows as frames that remain what they are."""
        for given in self.frames():
            match given:
                case pl.DataFrame():
                    yield own(given)
                case SplitBatch():
                    yield frame_of_table(given.rows)
                case pa.Table():
                    yield frame_of_table(given)
                case _:
                    yield None

    def _is_row(self, item: object) -> bool:
        kind = type(item)
        if kind in self._row_classes:
            return True
        if is_row_class(kind):
            self._row_classes.add(kind)
            return True
        return not holds_many(item)

    def _add(self, item: object) -> None:
        try:
            self._batch.add(item)
        except Unfit as unfit:
            raise SourceError(f"{self._name}: {unfit}, from row {self._given} on; name them alike and rerun") from None

    def _take_batch(self, *, is_complete: bool) -> pa.Table | SplitBatch:
        if is_complete:
            self._given += self._batch.rows
        return self._batch.take(is_complete=is_complete)

    def _next(self) -> object:
        """The next item; an exception of the function becomes a SourceError with its type and call stack, not its text."""
        try:
            return next(self._items, _END)
        except RowledgerError:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit or CancelledError of the function must not end the run
            kind, frames = type(error), traceback.format_tb(error.__traceback__)
        raise SourceError(
            f"{self._name} raised {kind.__module__}.{kind.__qualname__} behind {self._given + self._batch.rows} rows; "
            "the run's log has where; fix it and rerun",
            source_traceback="".join(frames),
        )


class _Batch:
    """Single rows that wait for others, so that the types of their columns are found out for all of them together."""

    def __init__(self, builder: FrameBuilder) -> None:
        self.rows = 0
        self._builder = builder
        self._bytes = self._taken = 0

    @property
    def is_full(self) -> bool:
        return self.rows >= _BATCH_ROWS or self._bytes >= _BATCH_BYTES

    def add(self, item: object) -> None:
        self._builder.add(item)
        self.rows += 1
        if self.rows % _LOOK_ROWS == 0:
            self._bytes += _LOOK_ROWS * self._builder.last_row_bytes()

    def take(self, *, is_complete: bool) -> pa.Table | SplitBatch:
        """The rows that were not taken yet. If the batch is complete, the next row begins another one."""
        rows = self._builder.table(self._taken)
        whole = self._builder.table() if self._taken else rows
        is_split = self._taken > 0 or not is_complete
        self._taken = self.rows
        if is_complete:
            self._builder.forget()
            self.rows = self._bytes = self._taken = 0
        return SplitBatch(rows, whole, is_complete=is_complete) if is_split else rows


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
