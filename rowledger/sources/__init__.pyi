from .arrow_ipc import ArrowFiles as ArrowFiles
from .csv import CsvFiles as CsvFiles
from .databases import PostgresDatabase as PostgresDatabase
from .durable_writes import durable_file as durable_file
from .file_identity import file_status as file_status
from .frame_builder import FrameBuilder as FrameBuilder
from .joined_chunks import join_small as join_small, read_chunk as read_chunk
from .json_files import JsonFiles as JsonFiles
from .kept_frames import KeptFrames as KeptFrames
from .landing import landing_folder as landing_folder
from .ndjson import NdjsonFiles as NdjsonFiles
from .parquet import ParquetFiles as ParquetFiles
from .python import GivenRows as GivenRows, PythonRows as PythonRows
from .remote_files import fetch_again as fetch_again
from .source_file import is_fetchable as is_fetchable, is_fetched as is_fetched
from .sql import SqlQuery as SqlQuery
from .sql_reader import DatabaseSession as DatabaseSession
