"""dlt with what its manual recommends for speed: Arrow tables, CSV that goes into COPY, uncompressed, files that rotate."""

import math
from collections.abc import Iterator
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.contestants.task import SCHEMA, Task

FILE_ROWS = 1_000_000
PROCESSES_MAX = 2


def load(task: Task) -> None:
    """Append the file's row groups as Arrow tables to the table that is there."""
    dlt.config["extract.data_writer.file_max_items"] = FILE_ROWS
    dlt.config["normalize.data_writer.file_max_items"] = FILE_ROWS
    dlt.config["normalize.data_writer.disable_compression"] = True
    # A process for a file: where there is but one file, a pool only costs. Loading has threads of its own, 20 by default.
    files = math.ceil(pq.read_metadata(task.file).num_rows / FILE_ROWS)
    dlt.config["normalize.workers"] = min(files, PROCESSES_MAX)
    dlt.config["runtime.dlthub_telemetry"] = False
    pipeline = dlt.pipeline(
        "race",
        pipelines_dir=str(task.scratch),
        destination=dlt.destinations.postgres(task.url),
        dataset_name=SCHEMA,
    )
    rows = dlt.resource(_tables(task), name=task.table, write_disposition="append")
    # Measured on lineitem: its other fast way, Parquet through ADBC, takes nearly twice as long.
    pipeline.run(rows, loader_file_format="csv").raise_on_failed_jobs()


def _tables(task: Task) -> Iterator[pa.Table]:
    with pq.ParquetFile(task.file) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            yield rows.cast(pa.schema([_supported(column) for column in rows.schema]))


def _supported(column: "pa.Field[Any]") -> "pa.Field[Any]":
    """Views of strings, which dlt does not know, as strings: views are what the schema in the file asks for."""
    return column.with_type(pa.string()) if pa.types.is_string_view(column.type) else column
