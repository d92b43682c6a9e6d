-- name: store_check_evaluations
-- Many check evaluations of partitions: each as an event, and as Dagster's row of the check, which is there already where the run
-- has announced it. Without a partition the table's unique index would not find an announced row.
with made as materialized (
    select nextval(pg_get_serial_sequence('event_logs', 'id')) as event_id, given.*
    from json_to_recordset(%s) as given (
        run_id text, event text, dagster_event_type text, timestamp timestamp, step_key text, asset_key text,
        checked_asset_key text, check_name text, partition text, execution_status text, materialization_id bigint
    )
),
logged as (
    insert into event_logs (id, run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
    select event_id, run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition
    from made
)
insert into asset_check_executions (
    asset_key, check_name, partition, run_id, execution_status, evaluation_event, evaluation_event_timestamp,
    evaluation_event_storage_id, materialization_event_storage_id
)
select
    checked_asset_key, check_name, partition, run_id, execution_status, event, timestamp, event_id, materialization_id
from made
on conflict (asset_key, check_name, run_id, partition) do update set
    execution_status = excluded.execution_status,
    evaluation_event = excluded.evaluation_event,
    evaluation_event_timestamp = excluded.evaluation_event_timestamp,
    evaluation_event_storage_id = excluded.evaluation_event_storage_id,
    materialization_event_storage_id = excluded.materialization_event_storage_id;

-- name: announce_checks
-- Dagster's rows of a check that a run will make, one for each partition.
insert into asset_check_executions (
    asset_key, check_name, run_id, execution_status, evaluation_event, evaluation_event_timestamp, evaluation_event_storage_id,
    partition
)
select %s, %s, %s, %s, %s, %s, %s, partition
from unnest(%s) with ordinality as given (partition, place)
order by place;
