"""Rows that are given with a load: as a function of the partition, by key, for one partition, or for several together.

Rows for several partitions together are split: each goes to the partition that its values name. They are read once, and kept in
files of each partition until it is loaded, so that memory stays flat whatever order they come in.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from rowledger.contract import Contract, RowPartitions
from rowledger.counted import counted
from rowledger.errors import SourceError, SpecError
from rowledger.load.request import RunRequest
from rowledger.load.source_columns import source_names
from rowledger.machine import iterate_in_thread
from rowledger.postgres import Target
from rowledger.settings import settings
from rowledger.sources import GivenRows, KeptFrames
from rowledger.spec import RESERVED_PREFIX, Partition, TableSpec, WriteMode

__all__ = ["RowsTogether", "rows_by_partition", "with_rows_split"]

_NUMBER = f"{RESERVED_PREFIX}partition"
_KEYS_SHOWN = 10
_BUFFERED_BYTES_MAX = 64 * 2**20


@dataclass(frozen=True, slots=True)
class RowsTogether:
    """The rows of several partitions, which are split before the first of them is loaded."""

    rows: object

    def __call__(self, partition: Partition) -> object:
        raise SourceError(f"partition {partition.key} was planned before its rows were split from those of others")


def rows_by_partition(
    spec: TableSpec, partitions: Sequence[Partition], rows: object
) -> Callable[[Partition], object] | None:
    """What makes a partition's rows, from any form in which a load takes them; None where no rows are given.

    Raises SourceError if the source takes rows and there are none, SpecError for rows that cannot be those of the partitions.
    """
    source = spec.source
    if rows is None:
        if source.takes_rows:
            raise SourceError(
                f"table {spec.name}: its spec does not say where its rows are, because the program that loads it gives them; "
                "give them to rowledger.load as `rows`, or materialize the asset that returns them"
            )
        return None
    if not isinstance(source, GivenRows):
        raise SpecError(
            f"table {spec.name}: rows were given, but its source is {type(source).__name__}; make the source GivenRows()"
        )
    if callable(rows):
        return rows
    keys = [partition.key for partition in partitions]
    if isinstance(rows, Mapping) and (len(keys) > 1 or [*rows] == keys):  # otherwise it is meant as a row
        if set(rows) != set(keys):
            raise SpecError(
                f"table {spec.name}: rows were given for {_named(rows)}, but the load is of {_named(keys)}; give the rows of "
                "each by its key"
            )
        by_key = dict(rows)
        return lambda partition: by_key.pop(partition.key)  # not held longer than they are needed
    if len(partitions) == 1:
        return lambda _partition: rows
    _require_splittable(spec, partitions)
    return RowsTogether(rows)


def _named(keys: Iterable[object]) -> str:
    shown = [str(key) for key in keys] or ["no"]
    return (
        f"partition{'s' if len(shown) > 1 else ''} {', '.join(shown[:_KEYS_SHOWN])}{' …' * (len(shown) > _KEYS_SHOWN)}"
    )


def _require_splittable(spec: TableSpec, partitions: Sequence[Partition]) -> None:
    """Raise SpecError unless a row's values, as the source has them, say to which of the partitions it belongs."""
    together = f"table {spec.name}: the rows of {len(partitions)} partitions are given together"
    if spec.transform is not None:
        raise SpecError(f"{together}, and its transform may change a row's partition; give the rows of each by its key")
    if spec.write_mode is WriteMode.APPEND:
        # The other partitions' rows share its frames, and decide their columns' types, on which the digest depends.
        raise SpecError(
            f"{together}, but write mode append recognizes rows that it has added before only if they are given by "
            "themselves; give the rows of each by its key"
        )
    try:
        RowPartitions(Contract.of(spec.row), partitions)
    except SpecError as error:
        raise SpecError(f"{together}: {error}") from None


async def with_rows_split(request: RunRequest, target: Target, folder: Path) -> RunRequest:
    """The request with a partition's own rows for each partition.

    A row that belongs to none of the partitions is given to the first of them, whose load makes it a dead letter. Raises
    SourceError and NotEnoughSpace.
    """
    if not isinstance(request.rows, RowsTogether):
        return request
    name, limits = f"table {request.spec.name}", request.writer
    splitting = _Splitting(request, request.rows.rows, target, folder)
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

    def __init__(self, request: RunRequest, rows: object, target: Target, folder: Path) -> None:
        self._name = f"table {request.spec.name}"
        self._source = request.spec.source
        self._rows = rows
        contract = Contract.of(request.spec.row)
        self._columns = source_names(contract, target.columns)
        self._partitions = RowPartitions(contract, request.partitions, target.column_types)
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
