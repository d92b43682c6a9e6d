from .as_written import with_plain_texts as with_plain_texts
from .cells import python_rows as python_rows
from .check import Contract as Contract
from .dead_letter import (
    DeadLetter as DeadLetter,
    PayloadOf as PayloadOf,
    Refusal as Refusal,
    Stage as Stage,
    payloads_of as payloads_of,
)
from .decimals_for_transforms import for_calculation as for_calculation, with_scales_kept as with_scales_kept
from .declared_column import DeclaredColumn as DeclaredColumn
from .document_numbers import sorted_json as sorted_json
from .drift import common_column as common_column
from .exact_conversion import (
    arrow_table as arrow_table,
    frame_type as frame_type,
    is_same_type as is_same_type,
    polars_frame as polars_frame,
    polars_series as polars_series,
    python_series as python_series,
)
from .fingerprint import Fingerprint as Fingerprint
from .fingerprint_sql import (
    fingerprint_query as fingerprint_query,
    may_be_digested as may_be_digested,
    read_fingerprint as read_fingerprint,
)
from .frame_totals import fingerprint_frame as fingerprint_frame
from .kinds import NULL_REASON as NULL_REASON
from .loadable import check_spec as check_spec
from .partition_fit import (
    as_partitions as as_partitions,
    require_partitions as require_partitions,
    unusable_key as unusable_key,
)
from .read_payloads import frame_of_payloads as frame_of_payloads
from .row_declaration import declared_row as declared_row
from .row_partitions import RowPartitions as RowPartitions
from .row_types import read_row_types as read_row_types, write_row_types as write_row_types
from .rules import FieldRules as FieldRules
from .signature import signature_of as signature_of
from .sql_types import (
    BigInt as BigInt,
    Integer as Integer,
    Real as Real,
    SmallInt as SmallInt,
    char as char,
    pg_enum as pg_enum,
    pg_type as pg_type,
    varchar as varchar,
)
from .target_types import as_frame_value as as_frame_value
from .undeclared_columns import has_value as has_value
from .unmatched_columns import bare_name as bare_name
from .uuids import uuids_for_fields as uuids_for_fields, uuids_for_people as uuids_for_people
