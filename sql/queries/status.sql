-- name: partition_status
-- What readers see of each partition, its latest load, and its latest attempt that failed; an argument that is null asks for all.
-- A load that had nothing to add is no attempt that matters here.
with latest_load as (
    select distinct on (load.target, load.partition_key) load.*
    from rowledger.load
    where ($1::text is null or load.table_name = $1) and ($2::text[] is null or load.partition_key = any ($2))
        and load.state <> 'repeated'
    order by load.target, load.partition_key, load.load_id desc
),
latest_failure as (
    select distinct on (failed.target, failed.partition_key) failed.*
    from rowledger.failed_attempt as failed
    where ($1::text is null or failed.table_name = $1) and ($2::text[] is null or failed.partition_key = any ($2))
    order by failed.target, failed.partition_key, failed.attempt_id desc
),
published as (
    select
        load.target, load.partition_key, count(*) as loads, max(load.load_id) as load_id,
        max(load.ended_at) as published_at,
        (array_agg(load.run_id order by load.load_id desc))[1] as run_id,
        sum(load.enqueued_rows)::bigint as enqueued_rows,
        sum(counted.written_rows)::bigint as written_rows,
        sum(counted.dead_lettered_rows)::bigint as dead_lettered_rows,
        sum(counted.filtered_rows)::bigint as filtered_rows,
        sum(counted.added_rows)::bigint as added_rows,
        sum(load.updated_rows)::bigint as updated_rows
    from rowledger.load
    cross join lateral (
        select
            coalesce(sum(written_rows), 0) as written_rows,
            coalesce(sum(dead_lettered_rows), 0) as dead_lettered_rows,
            coalesce(sum(filtered_rows), 0) as filtered_rows,
            coalesce(sum(added_rows), 0) as added_rows
        from rowledger.chunk
        where chunk.load_id = load.load_id
    ) as counted
    where ($1::text is null or load.table_name = $1) and ($2::text[] is null or load.partition_key = any ($2))
        and load.state = 'published'
    group by load.target, load.partition_key
)
select
    coalesce(latest_load.table_name, latest_failure.table_name) as table_name, target, partition_key,
    latest_load.load_id, latest_load.state, latest_load.enqueued_rows, latest_load.chunks, latest_load.run_id,
    latest_load.started_at, latest_load.ended_at, latest_load.verdict, latest_load.epoch,
    counted.staged_rows, counted.chunks_committed,
    coalesce(refused.rows, 0) as dead_lettered_rows,
    noticed.incidents, noticed.worker_deaths,
    exists (
        select from rowledger.lease
        join pg_stat_activity as activity
            on activity.application_name like 'rowledger % of ' || replace(lease.holder::text, '-', '') || '%'
                or activity.pid = lease.backend_pid and activity.backend_start = lease.backend_start
        where lease.load_id = latest_load.load_id
    ) as is_worked_on,
    published.loads as published_loads, published.load_id as published_load_id, published.published_at,
    published.run_id as published_run_id, published.enqueued_rows as published_enqueued_rows,
    published.written_rows as published_written_rows, published.dead_lettered_rows as published_dead_lettered_rows,
    published.filtered_rows as published_filtered_rows, published.added_rows as published_added_rows,
    published.updated_rows as published_updated_rows,
    latest_failure.load_id as failed_load_id, latest_failure.epoch as failed_epoch,
    latest_failure.reason as failed_reason, latest_failure.failed_at, latest_failure.run_id as failed_run_id
from latest_load
full join latest_failure using (target, partition_key)
left join published using (target, partition_key)
-- What was learned of chunks that were never written counts too. Counted for all loads at once: where few of them have very many,
-- the planner would read all dead letters again for each load.
left join (
    select letter.load_id, count(*) as rows
    from rowledger.dead_letter as letter
    where letter.state <> 'replayed' and letter.load_id in (select load_id from latest_load)
    group by letter.load_id
) as refused on refused.load_id = latest_load.load_id
cross join lateral (
    select
        coalesce(sum(written_rows), 0)::bigint as staged_rows,
        count(*) filter (where state = 'committed') as chunks_committed
    from rowledger.chunk
    where chunk.load_id = latest_load.load_id
) as counted
cross join lateral (
    select count(*) as incidents, count(*) filter (where kind = any ($3)) as worker_deaths
    from rowledger.incident
    where incident.load_id = latest_load.load_id
) as noticed
order by table_name, target, partition_key;

-- name: tables_known
-- Tables that the ledger knows: their names, their targets, how many partitions of each are published.
select table_name, target, count(distinct partition_key) filter (where state = 'published') as published_partitions
from (
    select table_name, target, partition_key, state from rowledger.load
    union all
    select table_name, target, partition_key, 'failed' from rowledger.failed_attempt
) as known
group by table_name, target
order by table_name, target;

-- name: partitions_unknown
-- Of these keys, those of which the ledger knows no attempt under the table's name, or under any where $1 is null.
select asked.key
from unnest($2::text[]) with ordinality as asked (key, position)
where not exists (
        select from rowledger.load where ($1::text is null or load.table_name = $1) and load.partition_key = asked.key
    )
    and not exists (
        select from rowledger.failed_attempt as failed
        where ($1::text is null or failed.table_name = $1) and failed.partition_key = asked.key
    )
order by asked.position;

-- name: insert_failed_attempt
-- How an attempt at a partition failed.
insert into rowledger.failed_attempt (table_name, target, partition_key, load_id, epoch, run_id, kind, reason)
values ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: forget_failed_attempts
-- An attempt that had nothing to add leaves no load behind which would come after these.
delete from rowledger.failed_attempt where target = $1 and partition_key = $2;

-- name: published_loads
-- What should be in the target now.
select load.load_id, load.partition_key, load.partition::text as partition, load.enqueued_rows, load.write_mode,
    load.base_load_id, load.found_rows, load.found_fingerprint::text as found_fingerprint, load.updated_rows,
    load.replaced_fingerprint::text as replaced_fingerprint
from rowledger.load
where load.target = $1 and load.state = 'published' and ($2::text[] is null or load.partition_key = any ($2))
order by load.partition_key, load.load_id;

-- name: list_incidents
-- Incidents of the latest load of each partition, or of all loads ($3), and those of their runs that belong to no partition; an
-- argument that is null asks for all. Which of several tables a run's incident belongs to is not recorded.
select distinct on (incident.incident_id)
    case
        when min(listed.table_name) over of_incident = max(listed.table_name) over of_incident then listed.table_name else '-'
    end as "table",
    case when incident.load_id is null then '-' else listed.partition_key end as partition_key,
    incident.kind, incident.pid, incident.host, incident.exit_code, incident.chunk_no, incident.attempt, incident.summary,
    incident.detected_at, incident.run_id
from rowledger.incident
join (
    select load_id, partition_key, table_name, run_id, load_id = max(load_id) over (partition by target, partition_key) as is_latest
    from rowledger.load
) as listed on listed.load_id = incident.load_id or (incident.load_id is null and listed.run_id = incident.run_id)
where ($1::text is null or listed.table_name = $1) and ($2::text[] is null or listed.partition_key = any ($2))
    and (listed.is_latest or $3)
window of_incident as (partition by incident.incident_id)
order by incident.incident_id;

-- name: published_columns
-- Columns that the published rows of a target have values for, or had when they were written.
select distinct column_name as name
from rowledger.load
join rowledger.chunk using (load_id)
cross join lateral jsonb_object_keys(coalesce(chunk.fingerprint, '{}')) as column_name
where load.target = $1 and load.state = 'published'
order by name;

-- name: refusals_of_load
-- Why rows of a load were refused, the most frequent cause first, and where the first few rows of each stand in the source.
-- Reasons that name another row or a process differ from row to row: one of them stands for all.
select
    stage, column_name, constraint_name, sqlstate, count(*) as rows,
    (array_agg(reason order by row_no, part))[1] as reason,
    (array_agg(source order by row_no, part))[1:5] as first_sources,
    (array_agg(coalesce(source_row, row_no) order by row_no, part))[1:5] as first_rows
from rowledger.dead_letter
where load_id = $1
group by stage, column_name, constraint_name, sqlstate, case when stage in ('key', 'crash') then '' else reason end
order by rows desc, stage, column_name
limit $2;
