from .arrow_ipc import ArrowFiles as ArrowFiles
from .csv import CsvFiles as CsvFiles
from .durable import durable_file as durable_file
from .ndjson import NdjsonFiles as NdjsonFiles
from .parquet import ParquetFiles as ParquetFiles
from .python import PythonRows as PythonRows
from .sql import SqlQuery as SqlQuery
from .values import FrameBuilder as FrameBuilder
