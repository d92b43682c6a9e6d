"""The rows of a Parquet file as Python has them: frames by the fastest reader we know, polars; batches and dicts of these."""

import itertools
from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.contestants.task import Task

__all__ = ["read_batches", "read_dicts", "read_frames"]

_PAGE_ROWS = 1_000  # as many as an API may give at once


def read_frames(task: Task) -> Iterator[pl.DataFrame]:
    """Frames of at most a row group of one process's share, in the file's order.

    Shares have the same number of rows, so that no process waits for the other one at the end.
    """
    metadata = pq.read_metadata(task.parquet)
    first = metadata.num_rows * task.share // task.processes
    end = metadata.num_rows * (task.share + 1) // task.processes
    groups = (metadata.row_group(n).num_rows for n in range(metadata.num_row_groups))
    bounds = itertools.accumulate(groups, initial=0)
    cuts = [first, *(bound for bound in bounds if first < bound < end), end]
    for start, stop in itertools.pairwise(cuts):
        yield pl.scan_parquet(task.parquet).slice(start, stop - start).collect()


def read_batches(task: Task) -> pa.RecordBatchReader:
    """The same as Arrow batches of the file's types."""
    schema = pq.read_schema(task.parquet)
    batches = (
        batch
        for frame in read_frames(task)
        for batch in frame.to_arrow(compat_level=pl.CompatLevel.newest()).cast(schema).to_batches()
    )
    return pa.RecordBatchReader.from_batches(schema, batches)


def read_dicts(task: Task) -> Iterator[list[dict[str, Any]]]:
    """Lists of dicts of Python's values, a page of an API each."""
    for frame in read_frames(task):
        for page in frame.iter_slices(_PAGE_ROWS):
            yield page.to_dicts()
