from .contract import (
    BigInt as BigInt,
    Integer as Integer,
    Real as Real,
    SmallInt as SmallInt,
    char as char,
    declared_row as declared_row,
    pg_enum as pg_enum,
    pg_type as pg_type,
    varchar as varchar,
)
from .errors import LoadFailed as LoadFailed, RowledgerError as RowledgerError, SourceError as SourceError
from .ledger import (
    Check as Check,
    Incident as Incident,
    Observer as Observer,
    PartitionReport as PartitionReport,
    RowCounts as RowCounts,
)
from .load import load as load
from .settings import WriterSettings as WriterSettings
from .sources import (
    ArrowFiles as ArrowFiles,
    CsvFiles as CsvFiles,
    GivenRows as GivenRows,
    JsonFiles as JsonFiles,
    NdjsonFiles as NdjsonFiles,
    ParquetFiles as ParquetFiles,
    PythonRows as PythonRows,
    SqlQuery as SqlQuery,
    durable_file as durable_file,
    landing_folder as landing_folder,
)
from .spec import (
    ROW as ROW,
    WHOLE as WHOLE,
    ByReference as ByReference,
    ChunkDescriptor as ChunkDescriptor,
    DeadLetterBudget as DeadLetterBudget,
    Drift as Drift,
    Equals as Equals,
    FrameTransform as FrameTransform,
    Partition as Partition,
    QualifiedName as QualifiedName,
    RowTransform as RowTransform,
    ServersByFunction as ServersByFunction,
    ServersByKey as ServersByKey,
    Source as Source,
    SourceContext as SourceContext,
    TableSpec as TableSpec,
    Window as Window,
    WriteMode as WriteMode,
)

__version__: str
