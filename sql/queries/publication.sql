-- name: published_in_scope
-- The published loads that may add up to what is in the table: of one partition, or of all where $2 is null.
select load_id, partition_key, write_mode, base_load_id, found_rows, found_fingerprint::text as found_fingerprint,
    updated_rows, replaced_fingerprint::text as replaced_fingerprint
from rowledger.load
where target = $1 and state = 'published' and ($2::text is null or partition_key = $2)
order by load_id;

-- name: former_loads
-- How many of these loads ($1) were written by Rowledger 0.1.0, and whether anything of them comes from a later one.
select
    count(*) filter (where load.rowledger_version = '') as former,
    coalesce(bool_or(
        load.rowledger_version <> ''
        or exists (select from rowledger.dead_letter as letter where letter.load_id = load.load_id and letter.state = 'replayed')
    ), false) as has_later
from rowledger.load
where load.load_id = any ($1::bigint[]);

-- name: former_load_of_same_sums
-- A published load of the partition whose digest says nothing about the rows of load $3 ($4), and that has as many rows and the
-- same sums: one that Rowledger 0.1.0 wrote, or one of two of which one has digested rows as they were parsed, the other one their
-- text; these also if one of the two loads has no sums. Or one of other text, which may write the same rows.
with former as (
    select load_id, enqueued_rows, rowledger_version = '' as is_of_0_1_0,
        rowledger_version <> '' and content_digest like 'text:%' and $4 like 'text:%' as is_of_other_text
    from rowledger.load
    where target = $1 and partition_key = $2 and state = 'published' and load_id <> $3
        and (rowledger_version = '' or ($4 ~ '^([0-9a-f]{32}$|text:)' and content_digest ~ '^([0-9a-f]{32}$|text:)'
            and (content_digest like 'text:%' or $4 like 'text:%')))
),
figures as (
    select chunk.load_id, field.key as name, sum((field.value ->> 0)::numeric) as values_counted,
        sum((field.value ->> 1)::numeric) as total
    from rowledger.chunk
    cross join lateral jsonb_each(chunk.fingerprint) as field
    where chunk.load_id = $3 or chunk.load_id in (select load_id from former)
    group by chunk.load_id, field.key
),
sums as (
    select load_id, jsonb_object_agg(name, array[trim_scale(values_counted), trim_scale(total)]) as fingerprint
    from figures
    group by load_id
)
select former.load_id, former.is_of_0_1_0, former.is_of_other_text, of_former.load_id is not null and of_own.load_id is not null as has_sums
from former
join rowledger.load as own on own.load_id = $3 and own.enqueued_rows = former.enqueued_rows
left join sums as of_former on of_former.load_id = former.load_id
left join sums as of_own on of_own.load_id = own.load_id
where coalesce(of_own.fingerprint = of_former.fingerprint, not former.is_of_other_text)
    and exists (select from rowledger.chunk where load_id = own.load_id and written_rows > 0)
order by former.load_id
limit 1;

-- name: published_content
-- The published load of a partition that has brought these very rows.
select load_id from rowledger.load
where target = $1 and partition_key = $2 and content_digest = $3 and state = 'published'
order by load_id
limit 1;

-- name: record_publication
-- How a load is published, and what it changes, in the transaction that publishes it.
update rowledger.load set write_mode = $2, content_digest = $3, base_load_id = $4, found_rows = $5,
    found_fingerprint = $6::jsonb, updated_rows = $7, replaced_fingerprint = $8::jsonb
where load_id = $1;

-- name: forget_all_dead_letters
-- Of a load that has added nothing: those of the load that it repeats stand for them.
delete from rowledger.dead_letter where load_id = $1;

-- name: is_being_loaded
-- Whether a run is at work on the target.
select exists (
    select from rowledger.lease
    join rowledger.load using (load_id)
    -- The start of another role's session is hidden from those without pg_read_all_stats.
    join pg_stat_activity as activity on activity.pid = lease.backend_pid
        and coalesce(activity.backend_start, lease.backend_start) = lease.backend_start
    where load.target = $1
);

-- name: forget_loads
-- The published loads of a target, or of some partitions ($2), answer for nothing any more. Their rows stay in the table.
update rowledger.load set state = 'replaced', ended_at = clock_timestamp(), verdict = 'forgotten by hand'
where target = $1 and ($2::text[] is null or partition_key = any ($2)) and state = 'published'
returning load_id, partition_key;
