"""dlt with what its manual recommends for speed: Arrow tables, CSV that goes into COPY, uncompressed, files that rotate."""

import math
from collections.abc import Iterator

import dlt
import pyarrow.parquet as pq
from dlt.common.libs.pyarrow import py_arrow_to_table_schema_columns
from dlt.sources.filesystem import filesystem, read_jsonl

from benchmarks.contestants.csv_batches import read_csv_batches, without_views
from benchmarks.contestants.frames import read_dicts, read_frames
from benchmarks.contestants.task import SCHEMA, Task

FILE_ROWS = 1_000_000
PROCESSES_MAX = 2


def load(task: Task) -> None:
    """Append the rows to the table that is there; of dicts and lines of JSON with the columns' types declared."""
    dlt.config["extract.data_writer.file_max_items"] = FILE_ROWS
    dlt.config["normalize.data_writer.file_max_items"] = FILE_ROWS
    dlt.config["normalize.data_writer.disable_compression"] = True
    # A process for a file: where there is but one file, a pool only costs. Loading has threads of its own, 20 by default.
    files = math.ceil(pq.read_metadata(task.parquet).num_rows / FILE_ROWS)
    dlt.config["normalize.workers"] = min(files, PROCESSES_MAX)
    dlt.config["runtime.dlthub_telemetry"] = False
    pipeline = dlt.pipeline(
        "race",
        pipelines_dir=str(task.scratch),
        destination=dlt.destinations.postgres(task.url),
        dataset_name=SCHEMA,
    )
    rows = dlt.resource(_rows(task), name=task.table, write_disposition="append", columns=_declared(task))
    # Measured on lineitem: its other fast way, Parquet through ADBC, takes nearly twice as long.
    pipeline.run(rows, loader_file_format="csv").raise_on_failed_jobs()


def _rows(task: Task) -> Iterator[object]:
    match task.format:
        case "csv":
            yield from read_csv_batches(task)
        case "frames":
            yield from (frame.to_arrow() for frame in read_frames(task))
        case "dicts":
            yield from read_dicts(task)
        case "ndjson":
            yield from filesystem(bucket_url=task.folder.as_uri(), file_glob=task.file.name) | read_jsonl()
        case _:
            with pq.ParquetFile(task.file) as file:
                for group in range(file.num_row_groups):
                    rows = file.read_row_group(group)
                    yield rows.cast(without_views(rows.schema))


def _declared(task: Task) -> object:
    """The columns' types, which dicts do not tell."""
    if task.format not in {"dicts", "ndjson"}:
        return None
    return py_arrow_to_table_schema_columns(without_views(pq.read_schema(task.parquet)))
