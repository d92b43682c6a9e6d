from .dates_in_paths import dated_path as dated_path
from .file_partitions import FilePartitions as FilePartitions
from .formats import file_path as file_path
from .inferred_table import InferredColumn as InferredColumn, InferredTable as InferredTable
from .names import class_name as class_name, spec_name as spec_name
from .summary import summary_of as summary_of
from .table import infer_table as infer_table
from .trial import Refused as Refused
