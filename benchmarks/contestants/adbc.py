"""ADBC's bulk ingestion: batches of Arrow, one COPY a process."""

from collections.abc import Iterator

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from adbc_driver_postgresql import dbapi

from benchmarks.contestants.frames import read_frames
from benchmarks.contestants.task import SCHEMA, Task


def load(task: Task) -> None:
    """Append one share."""
    reader = pa.RecordBatchReader.from_batches(pq.read_schema(task.file), _batches(task))
    with dbapi.connect(task.url) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(task.table, reader, mode="append", db_schema_name=SCHEMA)
        connection.commit()


def _batches(task: Task) -> Iterator[pa.RecordBatch]:
    schema = pq.read_schema(task.file)
    for frame in read_frames(task):
        yield from frame.to_arrow(compat_level=pl.CompatLevel.newest()).cast(schema).to_batches()
