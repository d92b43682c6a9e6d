from .code_behind import modules_behind as modules_behind
from .column import (
    DECIMAL_DIGITS_MAX as DECIMAL_DIGITS_MAX,
    INTEGER_LIMITS as INTEGER_LIMITS,
    TABLE_COLUMNS_MAX as TABLE_COLUMNS_MAX,
    Column as Column,
    ColumnType as ColumnType,
    TypeName as TypeName,
    name_problem as name_problem,
)
from .condition import KEY_TYPES as KEY_TYPES, Condition as Condition, Equals as Equals, Window as Window
from .field_names import (
    column_name as column_name,
    column_names as column_names,
    former_columns as former_columns,
    source_names as source_names,
)
from .importing import (
    import_file as import_file,
    import_module as import_module,
    import_path as import_path,
    mistake as mistake,
)
from .load_handle import LoadHandle as LoadHandle
from .manifest import (
    ChunkDescriptor as ChunkDescriptor,
    ChunkPlan as ChunkPlan,
    Manifest as Manifest,
    TextRange as TextRange,
)
from .marked_types import (
    BYTES_16 as BYTES_16,
    DECIMAL_TEXT as DECIMAL_TEXT,
    DYNAMIC as DYNAMIC,
    UUID as UUID,
    holds_decimal_texts as holds_decimal_texts,
)
from .nested_types import types_in as types_in, with_parts as with_parts, with_types as with_types
from .number_format import NumberFormat as NumberFormat
from .partition import WHOLE as WHOLE, Partition as Partition
from .reference import ByReference as ByReference, resolve as resolve
from .row_model import DECLARATION as DECLARATION
from .servers import ServersByFunction as ServersByFunction, ServersByKey as ServersByKey
from .source import (
    ABSENT_PREFIX as ABSENT_PREFIX,
    BYTES_KEY as BYTES_KEY,
    FAULT as FAULT,
    LINE as LINE,
    RESERVED_PREFIX as RESERVED_PREFIX,
    Source as Source,
    SourceContext as SourceContext,
)
from .table import (
    DeadLetterBudget as DeadLetterBudget,
    Drift as Drift,
    QualifiedName as QualifiedName,
    TableSpec as TableSpec,
    WriteMode as WriteMode,
)
from .time_windows import Cadence as Cadence, keys_between as keys_between, window_bounds as window_bounds
from .transform import ROW as ROW, FrameTransform as FrameTransform, RowTransform as RowTransform
