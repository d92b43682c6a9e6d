-- name: store_check_evaluations
-- Dagster's rows of many check evaluations of one run; those that the run has announced are there already. All have partitions,
-- without which the table's unique index would not find an announced row.
insert into asset_check_executions (
    asset_key, check_name, partition, run_id, execution_status, evaluation_event, evaluation_event_timestamp,
    evaluation_event_storage_id, materialization_event_storage_id
)
select
    asset_key, check_name, partition, run_id, execution_status, evaluation_event, evaluation_event_timestamp,
    evaluation_event_storage_id, materialization_event_storage_id
from json_to_recordset(%s) as made (
    asset_key text, check_name text, partition text, run_id text, execution_status text, evaluation_event text,
    evaluation_event_timestamp timestamp, evaluation_event_storage_id bigint, materialization_event_storage_id bigint
)
on conflict (asset_key, check_name, run_id, partition) do update set
    execution_status = excluded.execution_status,
    evaluation_event = excluded.evaluation_event,
    evaluation_event_timestamp = excluded.evaluation_event_timestamp,
    evaluation_event_storage_id = excluded.evaluation_event_storage_id,
    materialization_event_storage_id = excluded.materialization_event_storage_id;
