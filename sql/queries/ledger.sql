-- name: find_loading_load
-- The unfinished load of a partition, whether it has a staging table that is ours, and whether a run is at work on it.
select
    load.load_id,
    load.epoch,
    load.manifest_digest,
    load.contract_digest,
    load.run_id,
    load.partition::text as partition,
    load.rowledger_version = '' as is_former,
    lease.holder,
    lease.holder_pid,
    lease.holder_host,
    coalesce(
        (
            -- What another role has staged cannot be given a key, nor be attached.
            select pg_has_role(staging.relowner, 'usage')
            from pg_class as staging
            join pg_namespace as namespace on namespace.oid = staging.relnamespace
            where namespace.nspname = 'rowledger' and staging.relname = 'staging_' || load.load_id
        ),
        false
    ) as has_staging,
    lease.renewals,
    lease.lease_s,
    exists (
        select from pg_stat_activity as activity
        -- The start of another role's session is hidden from those without pg_read_all_stats.
        where activity.pid = lease.backend_pid and coalesce(activity.backend_start, lease.backend_start) = lease.backend_start
            or activity.application_name like 'rowledger % of ' || replace(lease.holder::text, '-', '') || '%'
    ) as has_session
from rowledger.load
left join rowledger.lease using (load_id)
where load.target = $1 and load.partition_key = $2 and load.state = 'loading';

-- name: insert_load
-- A new load, with the chunks that are known ($12 to $16) and its lease, held as `hold_lease` does; no row where the partition has a
-- load that is loading; a rival that is about to begin one is waited for. `has_former`: whether the ledger lacks bounds of a load.
with inserted as (
    insert into rowledger.load (
        table_name, target, partition_key, manifest_digest, enqueued_rows, chunks, run_id, contract_digest, sealed,
        rowledger_version, partition
    )
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::jsonb)
    on conflict do nothing
    returning load_id, epoch
),
planned as (
    insert into rowledger.chunk (load_id, chunk_no, first_row, enqueued_rows, descriptor, digest)
    select inserted.load_id, plan.chunk_no, plan.first_row, plan.enqueued_rows, plan.descriptor::jsonb, plan.digest
    from inserted
    cross join unnest($12::text[]::integer[], $13::text[]::bigint[], $14::text[]::bigint[], $15::text[], $16::text[])
        as plan (chunk_no, first_row, enqueued_rows, descriptor, digest)
),
leased as (
    insert into rowledger.lease (load_id, holder, holder_pid, holder_host, backend_pid, backend_start, lease_s)
    select inserted.load_id, $17, $18, $19, activity.pid, activity.backend_start, $20
    from inserted
    cross join pg_stat_get_activity(pg_backend_pid()) as activity
)
select
    load_id, epoch,
    exists (
        select from rowledger.load as former
        where former.target = $2 and former.partition_key = $3 and former.partition is null
    ) as has_former
from inserted;

-- name: insert_chunks
-- The manifest, before anything of these chunks is written.
insert into rowledger.chunk (load_id, chunk_no, first_row, enqueued_rows, descriptor, digest)
select $1, plan.chunk_no, plan.first_row, plan.enqueued_rows, plan.descriptor::jsonb, plan.digest
from unnest($2::text[]::integer[], $3::text[]::bigint[], $4::text[]::bigint[], $5::text[], $6::text[])
    as plan (chunk_no, first_row, enqueued_rows, descriptor, digest)
on conflict do nothing;

-- name: state_of_chunk
-- Pending or committed; no row where another chunk has the number.
select state from rowledger.chunk
where load_id = $1 and chunk_no = $2 and first_row = $3 and enqueued_rows = $4 and digest = $5;

-- name: reopen_load
-- The source is produced once more, chunk by chunk.
update rowledger.load set sealed = false where load_id = $1;

-- name: seal_load
-- The source has ended: these are all the chunks there are.
update rowledger.load set sealed = true, manifest_digest = $2, enqueued_rows = $3, chunks = $4 where load_id = $1;

-- name: take_over_load
-- Raise the epoch: from this commit on no chunk transaction of the earlier holder can commit. One of two rivals wins.
update rowledger.load set epoch = epoch + 1, run_id = $3, rowledger_version = $4, partition = coalesce(partition, $5::jsonb)
where load_id = $1 and epoch = $2 and state = 'loading'
returning epoch;

-- name: hold_lease
-- Say who works on the load; the holder's own backend tells others whether it is alive.
insert into rowledger.lease (load_id, holder, holder_pid, holder_host, backend_pid, backend_start, lease_s)
select $1, $2, $3, $4, activity.pid, activity.backend_start, $5
from pg_stat_get_activity(pg_backend_pid()) as activity
on conflict (load_id) do update set
    holder = excluded.holder, holder_pid = excluded.holder_pid, holder_host = excluded.holder_host,
    backend_pid = excluded.backend_pid, backend_start = excluded.backend_start, lease_s = excluded.lease_s,
    renewals = lease.renewals + 1;

-- name: renew_leases
-- Keep the leases of this run alive, from whatever backend serves it now.
update rowledger.lease set
    backend_pid = activity.pid, backend_start = activity.backend_start, renewals = lease.renewals + 1
from pg_stat_get_activity(pg_backend_pid()) as activity
where lease.holder = $1;

-- name: release_leases
-- Let the next run begin at once.
delete from rowledger.lease where holder = $1;

-- name: recorded_chunks
-- The plan as the ledger has it.
select chunk_no, first_row, enqueued_rows, digest from rowledger.chunk where load_id = $1 order by chunk_no;

-- name: pending_chunks
-- What is still to be done, as one row; no row where the load is not loading, or not in this epoch.
select array(select chunk_no::text from rowledger.chunk where load_id = $1 and state = 'pending') as chunk_nos
from rowledger.load
where load_id = $1 and epoch = $2 and state = 'loading';

-- name: fence_load
-- Hold the load's row for the length of the chunk transaction; no row means that another run has taken it over.
select 1 from rowledger.load where load_id = $1 and epoch = $2 and state = 'loading' for share;

-- name: claim_chunk
-- Claim the chunk; waits for a transaction in doubt to end, and finds no row when that one had committed.
update rowledger.chunk set state = 'committed', attempt = $3, worker_pid = $4, worker_host = $5,
    committed_at = clock_timestamp()
where load_id = $1 and chunk_no = $2 and state = 'pending'
returning enqueued_rows;

-- name: record_chunk_counts
-- What the claimed chunk wrote; no row when the counts do not add up to what was enqueued.
update rowledger.chunk set written_rows = $3, dead_lettered_rows = $4, filtered_rows = $5, added_rows = $6,
    discarded_values = $7, fingerprint = $8::jsonb, row_types = $9
where load_id = $1 and chunk_no = $2 and state = 'committed'
    and enqueued_rows + $6::bigint = $3::bigint + $4::bigint + $5::bigint
returning chunk_no;

-- name: committed_chunk
-- The counts of a chunk that an earlier attempt committed.
select enqueued_rows, written_rows, dead_lettered_rows, filtered_rows, added_rows, discarded_values from rowledger.chunk
where load_id = $1 and chunk_no = $2 and state = 'committed';

-- name: forget_dead_letters
-- What an attempt that committed no rows had learned of a chunk; the attempt that writes the chunk learns it anew.
delete from rowledger.dead_letter where load_id = $1 and chunk_no = $2;

-- name: insert_dead_letters
-- Rows refused, in the transaction that writes their neighbours.
insert into rowledger.dead_letter (
    load_id, chunk_no, attempt, worker_pid, worker_host, source, source_row, row_no, stage, reason, sqlstate, constraint_name,
    column_name, payload, part, payload_of, traceback
)
select $1, $2, $3, $4, $5, letter.source, letter.source_row, letter.row_no, letter.stage, letter.reason, letter.sqlstate,
    letter.constraint_name, letter.column_name, letter.payload::json, letter.part, letter.payload_of, letter.traceback
from unnest(
    $6::text[], $7::text[]::bigint[], $8::text[]::bigint[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
    $14::text[], $15::text[]::integer[], $16::text[], $17::text[]
) as letter (
    source, source_row, row_no, stage, reason, sqlstate, constraint_name, column_name, payload, part, payload_of, traceback
);

-- name: insert_incident
-- A worker's death.
insert into rowledger.incident (load_id, chunk_no, attempt, kind, pid, host, exit_code, summary, stderr_tail, run_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: lock_load
-- The load's row, for a transaction that changes what it stands for; no row means fenced.
select 1 from rowledger.load where load_id = $1 and epoch = $2 and state = 'loading' for update;

-- name: recorded_plan
-- What the load's own ledger entry says of its manifest.
select enqueued_rows, chunks, manifest_digest, sealed from rowledger.load where load_id = $1;

-- name: load_state
-- What became of a load; settles a publish whose COMMIT was left in doubt.
select state, epoch, verdict from rowledger.load where load_id = $1;

-- name: chunk_totals
-- The ledger's side of the balance.
select
    count(*) as chunks,
    count(*) filter (where state = 'committed') as committed,
    coalesce(sum(enqueued_rows), 0)::bigint as enqueued_rows,
    coalesce(sum(written_rows), 0)::bigint as written_rows,
    coalesce(sum(dead_lettered_rows), 0)::bigint as dead_lettered_rows,
    coalesce(sum(filtered_rows), 0)::bigint as filtered_rows,
    coalesce(sum(added_rows), 0)::bigint as added_rows,
    coalesce(sum(discarded_values), 0)::bigint as discarded_values,
    count(*) filter (
        where state = 'committed' and enqueued_rows + added_rows <> written_rows + dead_lettered_rows + filtered_rows
    ) as unbalanced
from rowledger.chunk
where load_id = $1;

-- name: chunk_fingerprints
-- What the workers say they wrote, a fingerprint a chunk.
select fingerprint::text from rowledger.chunk where load_id = $1 and state = 'committed' and fingerprint is not null;

-- name: dead_letter_totals
-- Dead letters that exist and were not replayed since, and chunks whose own count of them differs.
select
    (select count(*) from rowledger.dead_letter where load_id = $1 and state <> 'replayed') as dead_letters,
    (
        select count(*)
        from rowledger.chunk
        left join (
            select chunk_no, count(*) as letters
            from rowledger.dead_letter
            where load_id = $1 and state <> 'replayed'
            group by chunk_no
        ) as counted using (chunk_no)
        where load_id = $1 and dead_lettered_rows <> coalesce(counted.letters, 0)
    ) as chunks_that_differ;

-- name: replace_published_load
-- The partition's former load gives way; where the table is loaded whole ($3), every load of it does.
update rowledger.load set state = 'replaced', ended_at = clock_timestamp()
where target = $1 and (partition_key = $2 or $3) and state = 'published'
returning load_id;

-- name: end_load
-- The load's verdict, and the digests of its entry as it is from now on; only a loading load of this epoch can get one.
with ended as (
    update rowledger.load as entry
    set state = $3, ended_at = clock_timestamp(), verdict = $4, chunks_digest = chunks.digest,
        entry_digest = rowledger.digest_of_entry(
            jsonb_populate_record(entry, jsonb_build_object('state', $3::text, 'chunks_digest', chunks.digest))
        )
    from (select rowledger.digest_of_chunks($1) as digest) as chunks
    where entry.load_id = $1 and entry.epoch = $2 and entry.state = 'loading'
    returning entry.load_id
),
released as (delete from rowledger.lease using ended where lease.load_id = ended.load_id)
select load_id from ended;

-- name: move_to_dead_letters
-- Take rows back out of a committed chunk's written count, with their part of the fingerprint.
update rowledger.chunk set written_rows = written_rows - $3::bigint, dead_lettered_rows = dead_lettered_rows + $3::bigint,
    fingerprint = $4::jsonb
where load_id = $1 and chunk_no = $2 and state = 'committed' and written_rows >= $3::bigint
returning chunk_no;

-- name: chunk_fingerprint
-- One chunk's own fingerprint.
select fingerprint::text from rowledger.chunk where load_id = $1 and chunk_no = $2;

-- name: refused_rows
-- Rows of a load that were refused already, and whether it was the whole source row or one that a transform made of it.
select row_no, part, payload_of = 'transformed' as is_part from rowledger.dead_letter where load_id = $1;

-- name: dead_letters_kept
-- How many rows of a load were refused, those of chunks that were never written among them.
select count(*) from rowledger.dead_letter where load_id = $1;

-- name: has_control_session
-- Whether a run has a session in this database, by its name: the one with its claim of connections, or another one.
select exists (
    select from pg_stat_activity
    where datname = current_database() and application_name ~ ('^rowledger (control|share) .*of ' || $1::text)
);

-- name: has_lease
-- Whether a run holds a lease of this ledger, also while its sessions are lost.
select exists (select from rowledger.lease where holder = $1::text::uuid);
