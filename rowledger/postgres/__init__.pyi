from .bounded_session import ServerSession as ServerSession, server_session as server_session
from .bounds import partition_predicate as partition_predicate
from .catalogue import (
    Target as Target,
    creation_statement as creation_statement,
    ensure_target as ensure_target,
    is_outdated as is_outdated,
    read_target as read_target,
)
from .constraints import ForeignKey as ForeignKey, UniqueIndex as UniqueIndex
from .copy import (
    EncodedRows as EncodedRows,
    copy_rows as copy_rows,
    encode_rows as encode_rows,
)
from .copy_format import describe_format as describe_format
from .evolution import (
    add_columns as add_columns,
    align_staging as align_staging,
    plan_columns as plan_columns,
    with_columns as with_columns,
)
from .loop_errors import tell_without_text as tell_without_text
from .matching import remedy as remedy, type_change as type_change
from .outage import OutageGate as OutageGate
from .privileges import (
    Grant as Grant,
    missing_on_schema as missing_on_schema,
    missing_on_table as missing_on_table,
    require_privileges as require_privileges,
)
from .publication import (
    create_partition_statement as create_partition_statement,
    ensure_partition as ensure_partition,
    insert_statement as insert_statement,
    lock_target_against_writers as lock_target_against_writers,
    publish_by_attach as publish_by_attach,
    publish_by_insert as publish_by_insert,
    publish_by_swap as publish_by_swap,
    same_key as same_key,
)
from .queries import (
    LEDGER_SCHEMA as LEDGER_SCHEMA,
    Migration as Migration,
    as_texts as as_texts,
    migrations as migrations,
    query as query,
    quote_identifier as quote_identifier,
    quoted as quoted,
    together as together,
    with_numbers as with_numbers,
)
from .refusal import refusal_of as refusal_of
from .replacement import (
    has_stale_checks as has_stale_checks,
    read_obstacle_of_rows as read_obstacle_of_rows,
    read_staging_changes as read_staging_changes,
    read_swap_obstacle as read_swap_obstacle,
)
from .retry import (
    is_connection_lost as is_connection_lost,
    may_retry as may_retry,
    retrying as retrying,
    root_cause as root_cause,
)
from .round_trip import find_rewritten as find_rewritten, rewritable as rewritable
from .server_url import (
    address as address,
    check_url_shape as check_url_shape,
    dagster_url as dagster_url,
    embedded_server as embedded_server,
    existing_url as existing_url,
    split_password as split_password,
    target_url as target_url,
    url_of_variable as url_of_variable,
    with_hosts_in_query as with_hosts_in_query,
)
from .session import (
    DeadlineExpired as DeadlineExpired,
    Session as Session,
    SessionIdentity as SessionIdentity,
    check_server as check_server,
    connect as connect,
    deadline as deadline,
)
from .session_names import (
    SessionRole as SessionRole,
    names_of_host as names_of_host,
    names_of_run as names_of_run,
    role_and_pid as role_and_pid,
    session_name as session_name,
)
from .snapshots import OldSnapshots as OldSnapshots
from .sqlstate import (
    ROWS_TO_BLAME as ROWS_TO_BLAME,
    ErrorAction as ErrorAction,
    copy_location as copy_location,
    is_about_rows_for_sure as is_about_rows_for_sure,
    is_of_its_row as is_of_its_row,
    is_raised as is_raised,
    may_be_about_rows as may_be_about_rows,
    sort_error as sort_error,
    sqlstate_of as sqlstate_of,
    summarize as summarize,
)
from .staging import (
    add_key as add_key,
    add_unique_index as add_unique_index,
    create_staging as create_staging,
    drop_staging as drop_staging,
    has_key as has_key,
    lock_staging as lock_staging,
    rewrite_staging as rewrite_staging,
)
from .stalled import StatementStalled as StatementStalled, stalls_cancelled as stalls_cancelled
from .standby import commit_in_time as commit_in_time, no_standby as no_standby, require_standby as require_standby
from .statements import place_of as place_of
from .target_servers import (
    TargetServer as TargetServer,
    by_server as by_server,
    server_of as server_of,
    servers_named as servers_named,
    servers_of as servers_of,
)
from .transactions import (
    begin as begin,
    brief_locks as brief_locks,
    limit_lock_waits as limit_lock_waits,
    lock_timeout as lock_timeout,
    transaction as transaction,
    transaction_limits as transaction_limits,
)
