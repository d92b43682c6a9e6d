from .durable import durable_file as durable_file
from .parquet import ParquetFiles as ParquetFiles
from .values import FrameBuilder as FrameBuilder
