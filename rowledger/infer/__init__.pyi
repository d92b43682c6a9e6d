from .columns import InferredColumn as InferredColumn
from .table import InferredTable as InferredTable, infer_table as infer_table
from .trial import Refused as Refused
