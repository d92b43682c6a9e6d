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
from rowledger.machine import OwnProcess
from rowledger.sources.dataframes import frames_of, holds_many, own
from rowledger.sources.frame_builder import FrameBuilder, Unfit, frame_of_table
from rowledger.sources.row_readers import is_row_class
from rowledger.sources.spool_writer import SplitBatch

__all__ = ["FunctionRows"]

_BATCH_ROWS = 8_192
_BATCH_BYTES = 16 * 2**20
_LARGE_BATCH_BYTES = 4 * 2**20
_LOOK_ROWS = 8  # the size of every eighth row is measured: measuring each row took a third of the time
_CHUNK_S = 60.0
_END = object()


class FunctionRows:
    """The rows of one call, as frames."""

    def __init__(self, name: str, call: Callable[[], object], columns: tuple[str, ...], columns_max: int) -> None:
        """`name` is the function's name for messages; `columns` are the contract's."""
        self._name = name
        self._call = call
        self._opened = contextlib.ExitStack()
        self._batch = _Batch(FrameBuilder(columns, columns_max=columns_max))
        self._sources: list[Iterator[object]] | None = None
        self._row_classes: set[type] = {dict}
        self._overdue_at = monotonic() + _CHUNK_S
        self._given = 0
        self._process = OwnProcess()

    def chunk_given(self) -> None:
        self._overdue_at = monotonic() + _CHUNK_S

    def close(self) -> None:
        """Run the function's `finally` blocks; errors that they raise are ignored."""
        with contextlib.suppress(Exception):
            self._opened.close()

    def frames(self) -> Iterator[pl.DataFrame | pa.Table | SplitBatch | None]:
        """Yield what the spool takes, and None whenever a chunk is overdue; raises SourceError.

        The types of single rows are found out for a batch of them at a time, which never depends on how fast the rows come.
        """
        item: object = None
        while item is not _END:
            item = self._collect()
            is_overdue = monotonic() >= self._overdue_at
            if self._batch.rows:
                yield self._take_batch(is_complete=item is not None or self._batch.is_full)
            if item is not None and item is not _END:
                for frame in frames_of(item, origin=self._name):
                    self._given += frame.height
                    yield frame
            if is_overdue:
                self.chunk_given()
                yield None

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

    def _collect(self) -> object:
        """Add single rows to the batch until it is full or a chunk is overdue, or until an item holds many rows.

        Returns that item, _END after the last one, otherwise None. An exception of the function becomes a SourceError with its
        type and call stack, not its text.
        """
        try:
            return self._add_items()
        except RowledgerError:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit or CancelledError of the function must not end the run
            kind, frames = type(error), traceback.format_tb(error.__traceback__)
        finally:
            self._process.end_others()  # before it touches the spool, by writing or by clearing up
        raise SourceError(
            f"{self._name} raised {kind.__module__}.{kind.__qualname__} behind {self._given + self._batch.rows} rows; "
            "the run's log has where; fix it and rerun",
            source_traceback="".join(frames),
        )

    def _add_items(self) -> object:
        if self._sources is None:
            self._sources = [self._opened.enter_context(_iterator_of(self._name, self._call))]
        sources, batch = self._sources, self._batch
        while sources:
            for item in sources[-1]:
                if type(item) in self._row_classes or self._is_row(item):
                    self._add(item)  # at once: the function may reuse the item
                elif isinstance(item, list) and len(sources) == 1:
                    sources.append(iter(item))
                    break
                else:
                    return item
                if batch.is_full or monotonic() >= self._overdue_at:
                    return None
            else:
                sources.pop()
        return _END

    def _is_row(self, item: object) -> bool:
        kind = type(item)
        if is_row_class(kind):
            self._row_classes.add(kind)
            return True
        is_page = isinstance(item, list) and len(self._sources or ()) == 1
        return not is_page and not holds_many(item)

    def _add(self, item: object) -> None:
        try:
            self._batch.add(item)
        except Unfit as unfit:
            raise SourceError(f"{self._name}: {unfit}, from row {self._given} on; name them alike and rerun") from None

    def _take_batch(self, *, is_complete: bool) -> pa.Table | SplitBatch:
        if is_complete:
            self._given += self._batch.rows
        return self._batch.take(is_complete=is_complete)


class _Batch:
    """Single rows that wait for others, so that the types of their columns are found out for all of them together."""

    def __init__(self, builder: FrameBuilder) -> None:
        self.rows = 0
        self.is_full = False
        self._builder = builder
        self._bytes = self._taken = 0

    def add(self, item: object) -> None:
        self._builder.add(item)
        self.rows += 1
        if self.rows % _LOOK_ROWS == 0:
            self._bytes += _LOOK_ROWS * self._builder.last_row_bytes()
        if self.rows >= _BATCH_ROWS or self._bytes >= _BATCH_BYTES:
            self.is_full = True

    def take(self, *, is_complete: bool) -> pa.Table | SplitBatch:
        """The rows that were not taken yet. If the batch is complete, the next row begins another one."""
        are_large = self._bytes > _LARGE_BATCH_BYTES
        rows = self._builder.table(self._taken, are_large=are_large)
        whole = self._builder.table(are_large=are_large) if self._taken else rows
        is_split = self._taken > 0 or not is_complete
        self._taken = self.rows
        if is_complete:
            self._builder.forget()
            self.rows = self._bytes = self._taken = 0
            self.is_full = False
        return SplitBatch(rows, whole, is_complete=is_complete) if is_split else rows


@contextlib.contextmanager
def _iterator_of(name: str, call: Callable[[], object]) -> Iterator[Iterator[object]]:
    """The items that the function yields; where it gives one item that holds many rows, that one."""
    with asyncio.Runner() as runner:  # starts no loop unless it is used
        produced = call()
        if isinstance(produced, Coroutine):
            produced = runner.run(produced)
        if isinstance(produced, AsyncIterator):
            produced = _synchronous(produced, runner)
        if holds_many(produced):
            yield iter([produced])
            return
        if not isinstance(produced, Iterable) or isinstance(produced, str | bytes | Mapping | BaseModel):
            raise SourceError(
                f"{name} gave one {type(produced).__qualname__}; it has to yield rows, or return an iterable of them"
            )
        iterator = iter(produced)
        try:
            yield iterator
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
