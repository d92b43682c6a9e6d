"""ADBC's bulk ingestion: batches of Arrow, one COPY a process."""

import contextlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
from adbc_driver_postgresql import dbapi

from benchmarks.contestants.csv_batches import read_csv_batches, without_views
from benchmarks.contestants.frames import read_batches
from benchmarks.contestants.task import SCHEMA, Task


def load(task: Task) -> None:
    """Append one share."""
    with _batches(task) as batches, dbapi.connect(task.url) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(task.table, batches, mode="append", db_schema_name=SCHEMA)
        connection.commit()


@contextlib.contextmanager
def _batches(task: Task) -> Iterator[pa.RecordBatchReader]:
    match task.format:
        case "csv" | "gzip":
            reader = read_csv_batches(task)
            yield pa.RecordBatchReader.from_batches(reader.schema, reader)
        case "query":
            with dbapi.connect(task.url) as connection, connection.cursor() as cursor:
                cursor.execute(task.query)
                # Numbers of the type numeric come as text, which its ingestion does not take for numbers.
                yield cursor.fetch_record_batch().cast(without_views(pq.read_schema(task.parquet)))
        case _:
            yield read_batches(task)
