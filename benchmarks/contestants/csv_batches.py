"""CSV as batches of Arrow: what a program gives to a library that takes Arrow."""

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from benchmarks.contestants.task import Task

__all__ = ["read_csv_batches", "without_views"]


def read_csv_batches(task: Task) -> csv.CSVStreamingReader:
    """The file, decompressed if need be, in the types of the Parquet file; an empty field is null."""
    schema = without_views(pq.read_schema(task.parquet))
    options = csv.ConvertOptions(column_types=schema, null_values=[""], strings_can_be_null=True)
    return csv.open_csv(task.file, convert_options=options)


def without_views(schema: pa.Schema) -> pa.Schema:
    """Views of strings as strings: views are what a file asks for that polars has written, and not every library knows them."""
    return pa.schema([f.with_type(pa.string()) if pa.types.is_string_view(f.type) else f for f in schema])
