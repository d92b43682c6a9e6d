"""Split rows that are given for several partitions together: each goes to the partition that its values name.

They are read once, and kept in files of each partition until it is loaded, so that memory stays flat whatever order they come
in.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from rowledger.contract import Contract, RowPartitions
from rowledger.counted import counted
from rowledger.errors import SourceError
from rowledger.load.given_rows import RowsTogether
from rowledger.load.request import RunRequest
from rowledger.load.source_columns import source_names
from rowledger.machine import iterate_in_thread
from rowledger.settings import settings
from rowledger.sources import GivenRows, KeptFrames
from rowledger.spec import RESERVED_PREFIX, Column, Partition

__all__ = ["with_rows_split"]

_NUMBER = f"{RESERVED_PREFIX}partition"
_BUFFERED_BYTES_MAX = 64 * 2**20


async def with_rows_split(
    request: RunRequest, together: RowsTogether, columns: Sequence[Column], folder: Path
) -> RunRequest:
    """The request with a partition's own rows for each partition, by the values that the table's columns would hold.

    A row that belongs to none of the partitions is given to the first of them, whose load makes it a dead letter. Raises
    SourceError and NotEnoughSpace.
    """
    name, limits = f"table {request.spec.name}", request.writer
    splitting = _Splitting(request, together.rows, columns, folder)
    coming = iterate_in_thread(
        splitting.run, item_timeout_s=limits.planning_timeout_s, close_timeout_s=limits.close_timeout_s
    )
    rows = 0
    try:
        async with coming as heights:
            async for height in heights:
                rows += height
    except TimeoutError:
        raise SourceError(
            f"{name}: no rows were given for {limits.planning_timeout_s:g} s (planning_timeout_s); see what the code that "
            "gives them waits for, then rerun"
        ) from None
    except SourceError as error:
        if error.source_traceback:
            request.observer.log(logging.ERROR, f"{name}:\n{error.source_traceback}")
        raise
    told = f"{name}: {counted(rows, 'row')} split over {counted(len(request.partitions), 'partition')}"
    request.observer.log(logging.INFO, told)
    return replace(request, rows=splitting.rows_of)


class _Splitting:
    """Writes each partition's frames into a folder of its own."""

    def __init__(self, request: RunRequest, rows: object, columns: Sequence[Column], folder: Path) -> None:
        self._name = f"table {request.spec.name}"
        self._source = request.spec.source
        self._rows = rows
        contract = Contract.of(request.spec.row)
        self._columns = source_names(contract, columns)
        self._partitions = RowPartitions(contract, request.partitions, {column.name: column.type for column in columns})
        folder.mkdir(mode=0o700)
        self._kept = [KeptFrames(folder / str(number)) for number in range(len(request.partitions))]
        self._numbers = {partition.key: number for number, partition in enumerate(request.partitions)}
        self._buffered: dict[int, list[pl.DataFrame]] = {}
        self._buffered_bytes = 0

    def rows_of(self, partition: Partition) -> KeptFrames:
        return self._kept[self._numbers[partition.key]]

    def run(self) -> Iterator[int]:
        """Split the rows; yield the number of rows of each frame. Runs in the producer's thread."""
        assert isinstance(self._source, GivenRows)  # noqa: S101 - `rows_by_partition` has checked it
        for frame in self._source.frames(lambda: self._rows, self._columns):
            if frame is not None and frame.height:
                self._split(frame)
            yield frame.height if frame is not None else 0
        self._write()

    def _split(self, frame: pl.DataFrame) -> None:
        if not frame.width:
            raise SourceError(f"{self._name}: a frame has {counted(frame.height, 'row')} and no columns")
        numbered = frame.with_columns(self._partitions.of_rows(frame).fill_null(0).alias(_NUMBER))
        parts = numbered.partition_by(_NUMBER, maintain_order=True, include_key=True)
        for part in parts:
            self._buffered.setdefault(part.item(0, _NUMBER), []).append(part.drop(_NUMBER))
        self._buffered_bytes += int(frame.estimated_size())
        if self._buffered_bytes >= _BUFFERED_BYTES_MAX:
            self._write()

    def _write(self) -> None:
        for number, frames in self._buffered.items():
            self._kept[number].add(frames, disk_free_min_bytes=settings().disk_free_min_bytes)
        self._buffered, self._buffered_bytes = {}, 0
