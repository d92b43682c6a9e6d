-- name: partition_status
-- The latest load of each partition, but for those that had nothing to add; an argument that is null asks for all.
select distinct on (load.target, load.partition_key)
    load.table_name, load.partition_key, load.load_id, load.state, load.enqueued_rows, load.chunks, load.run_id,
    load.started_at,
    case when load.state = 'published' then load.ended_at end as published_at,
    counted.written_rows, counted.committed, counted.filtered_rows, counted.added_rows,
    -- A rejected load keeps dead letters of chunks that never committed.
    case
        when load.state = 'rejected'
            then (select count(*) from rowledger.dead_letter where dead_letter.load_id = load.load_id)
        else counted.dead_lettered_rows
    end as dead_lettered_rows,
    (select count(*) from rowledger.incident where incident.load_id = load.load_id) as incidents
from rowledger.load
cross join lateral (
    select
        coalesce(sum(written_rows), 0)::bigint as written_rows,
        coalesce(sum(dead_lettered_rows), 0)::bigint as dead_lettered_rows,
        coalesce(sum(filtered_rows), 0)::bigint as filtered_rows,
        coalesce(sum(added_rows), 0)::bigint as added_rows,
        count(*) filter (where state = 'committed') as committed
    from rowledger.chunk
    where chunk.load_id = load.load_id
) as counted
where ($1::text is null or load.table_name = $1) and load.state <> 'repeated'
order by load.target, load.partition_key, load.load_id desc;

-- name: published_loads
-- What should be in the target now.
select load.load_id, load.partition_key, load.enqueued_rows, load.write_mode, load.base_load_id
from rowledger.load
where load.target = $1 and load.state = 'published' and ($2::text[] is null or load.partition_key = any ($2))
order by load.partition_key, load.load_id;

-- name: list_incidents
-- Incidents of the latest load of each partition, and those of their runs that belong to no partition.
select distinct on (incident.incident_id)
    case when incident.load_id is null then '-' else latest.partition_key end as partition_key,
    incident.kind, incident.pid, incident.exit_code, incident.chunk_no, incident.attempt, incident.summary,
    incident.detected_at
from rowledger.incident
join (
    select distinct on (target, partition_key) load_id, partition_key, table_name, run_id
    from rowledger.load
    order by target, partition_key, load_id desc
) as latest on latest.load_id = incident.load_id or (incident.load_id is null and latest.run_id = incident.run_id)
where latest.table_name = $1 and ($2::text is null or latest.partition_key = $2)
order by incident.incident_id;

-- name: published_columns
-- Columns that the published rows of a target have values for, or had when they were written.
select distinct column_name as name
from rowledger.load
join rowledger.chunk using (load_id)
cross join lateral jsonb_object_keys(coalesce(chunk.fingerprint, '{}')) as column_name
where load.target = $1 and load.state = 'published'
order by name;
