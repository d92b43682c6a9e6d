from .actor import Actor as Actor
from .attempts import (
    forget_failed_attempts as forget_failed_attempts,
    reason_of as reason_of,
    record_failed_attempt as record_failed_attempt,
)
from .bounds import (
    PartitionsOfLoads as PartitionsOfLoads,
    partition_of_bounds as partition_of_bounds,
    read_partitions as read_partitions,
    record_bounds as record_bounds,
    record_bounds_of_former as record_bounds_of_former,
    record_found_bounds as record_found_bounds,
)
from .checked_session import ledger_session as ledger_session
from .chunks import (
    claim_chunk as claim_chunk,
    fence_load as fence_load,
    forget_dead_letters as forget_dead_letters,
    read_committed_chunk as read_committed_chunk,
    record_chunk as record_chunk,
    record_dead_letters as record_dead_letters,
)
from .counts import RowCounts as RowCounts
from .dead_letter_outcomes import (
    DeadLetterOutcome as DeadLetterOutcome,
    DeadLetterResult as DeadLetterResult,
    DeadLetterSelection as DeadLetterSelection,
    ReplayReport as ReplayReport,
)
from .dead_letters import (
    DeadLetterEvent as DeadLetterEvent,
    KeptDeadLetter as KeptDeadLetter,
    KeptPayload as KeptPayload,
    LetterReason as LetterReason,
    change_dead_letters as change_dead_letters,
    find_dead_letters as find_dead_letters,
    purge_dead_letters as purge_dead_letters,
    read_letter_events as read_letter_events,
    read_letter_reasons as read_letter_reasons,
    read_payloads as read_payloads,
    read_table_of_dead_letter as read_table_of_dead_letter,
    read_waiting_corrected as read_waiting_corrected,
)
from .entries import (
    is_entry_as_written as is_entry_as_written,
    note_entries as note_entries,
    read_changed_entries as read_changed_entries,
)
from .leftovers import discard_staging as discard_staging, sweep_staging as sweep_staging
from .loads import (
    ChunkTotals as ChunkTotals,
    Holder as Holder,
    Lease as Lease,
    LedgerSide as LedgerSide,
    LoadingLoad as LoadingLoad,
    NewLoad as NewLoad,
    end_load as end_load,
    find_loading_load as find_loading_load,
    hold_lease as hold_lease,
    insert_load as insert_load,
    is_plan_of as is_plan_of,
    read_chunk_fingerprints as read_chunk_fingerprints,
    read_chunk_totals as read_chunk_totals,
    read_ledger_side as read_ledger_side,
    read_pending_chunks as read_pending_chunks,
    record_incident as record_incident,
    record_spooled_chunk as record_spooled_chunk,
    reopen_load as reopen_load,
    seal_load as seal_load,
    take_over_load as take_over_load,
)
from .migrations import (
    BLOCK_MIGRATIONS as BLOCK_MIGRATIONS,
    check_ledger as check_ledger,
    ensure_ledger as ensure_ledger,
    require_current_ledger as require_current_ledger,
)
from .outcomes import (
    AlreadyCommitted as AlreadyCommitted,
    BroughtColumns as BroughtColumns,
    ChunkOutcome as ChunkOutcome,
    Committed as Committed,
    Failed as Failed,
    FailureKind as FailureKind,
    IncidentKind as IncidentKind,
    Planned as Planned,
    Probed as Probed,
    Replayed as Replayed,
    SourceRaised as SourceRaised,
)
from .placement import (
    PlacedPartition as PlacedPartition,
    ServerLedger as ServerLedger,
    partition_by_key as partition_by_key,
    read_servers as read_servers,
)
from .pruning import PrunableEntries as PrunableEntries, find_prunable as find_prunable, prune as prune
from .reader import ledger_reader as ledger_reader, read_ledger as read_ledger
from .replays import (
    DeadLetterToReplay as DeadLetterToReplay,
    LockedLoad as LockedLoad,
    lock_dead_letters as lock_dead_letters,
    lock_published_load as lock_published_load,
    move_from_dead_letters as move_from_dead_letters,
    read_columns_written as read_columns_written,
    read_outcomes as read_outcomes,
    read_replay_dead_letters as read_replay_dead_letters,
    read_row_types_of_chunks as read_row_types_of_chunks,
    record_decisions as record_decisions,
    record_updated_rows as record_updated_rows,
)
from .reports import (
    Check as Check,
    CheckName as CheckName,
    Incident as Incident,
    Observer as Observer,
    PartitionReport as PartitionReport,
    Progress as Progress,
    RefusalCause as RefusalCause,
)
from .required_privileges import require_to_load as require_to_load
from .row_places import (
    ROWS_COUNT_FROM_0 as ROWS_COUNT_FROM_0,
    RowPlace as RowPlace,
    short_names as short_names,
    told_rows as told_rows,
)
from .run_sessions import (
    HostSession as HostSession,
    terminate_backend as terminate_backend,
    terminate_host_sessions as terminate_host_sessions,
    terminate_sessions as terminate_sessions,
)
from .script import ledger_script as ledger_script
from .sessions import SupervisorSessions as SupervisorSessions
from .states import ChunkState as ChunkState, DeadLetterState as DeadLetterState, LoadState as LoadState
from .status import (
    Attempt as Attempt,
    AttemptState as AttemptState,
    PartitionStatus as PartitionStatus,
    PublishedRows as PublishedRows,
)
from .table_specs import (
    KeptSpec as KeptSpec,
    RivalRemedy as RivalRemedy,
    read_specs as read_specs,
    record_spec as record_spec,
    require_own_name as require_own_name,
    require_own_table as require_own_table,
    require_own_target as require_own_target,
)
from .table_status import (
    KeptIncident as KeptIncident,
    read_incidents as read_incidents,
    read_known_tables as read_known_tables,
    read_status as read_status,
    require_known as require_known,
    require_recorded as require_recorded,
)
from .upgrade import run_migrate as run_migrate
