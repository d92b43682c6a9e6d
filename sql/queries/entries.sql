-- name: digest_chunks_of_loads
-- The first of two statements that note a load's entry as it is now, after a change by the rules.
update rowledger.load set chunks_digest = rowledger.digest_of_chunks(load_id) where load_id = any ($1::text[]::bigint[]);

-- name: digest_loads
-- The second: its digest is over the first's too.
update rowledger.load as entry set entry_digest = rowledger.digest_of_entry(entry) where load_id = any ($1::text[]::bigint[]);

-- name: entries_changed_by_hand
-- Ended loads of a target ($1) or of a table spec ($2) whose entries are not as they were written; with $3 only published ones,
-- and their chunks too.
select entry.load_id, entry.partition_key, entry.state
from rowledger.load as entry
where (entry.target = $1 or entry.table_name = $2) and entry.state <> 'loading' and (not $3 or entry.state = 'published')
    and (
        entry.entry_digest is distinct from rowledger.digest_of_entry(entry)
        or $3 and entry.chunks_digest is distinct from rowledger.digest_of_chunks(entry.load_id)
    )
order by entry.load_id;

-- name: is_entry_as_written
-- Whether a load's entry and its chunks are as they were written.
select entry.entry_digest is not distinct from rowledger.digest_of_entry(entry)
    and entry.chunks_digest is not distinct from rowledger.digest_of_chunks(entry.load_id)
from rowledger.load as entry
where entry.load_id = $1;

-- name: loads_without_bounds
-- Loads of a partition that were made before the ledger recorded bounds.
select load_id from rowledger.load where target = $1 and partition_key = $2 and partition is null;

-- name: bounds_of_loads
-- Loads with their partitions, null where the ledger has no bounds.
select load_id, partition_key, partition::text as partition from rowledger.load where load_id = any ($1::bigint[]);

-- name: record_bounds
-- Bounds ($2) of loads ($1) that the ledger has none of. Who has edited an entry by hand finds it as it was left.
update rowledger.load as entry
set partition = found.bounds, entry_digest = case
    when entry.state <> 'loading'
    then rowledger.digest_of_entry(jsonb_populate_record(entry, jsonb_build_object('partition', found.bounds)))
end
from unnest($1::bigint[], $2::text[]) as given (load_id, bounds)
cross join lateral (select given.bounds::jsonb) as found (bounds)
where entry.load_id = given.load_id and entry.partition is null
    and (entry.state = 'loading' or entry.entry_digest = rowledger.digest_of_entry(entry));

-- name: published_bounds
-- The bounds of what is in a target ($1), a row a partition, as the newest published load of each recorded them.
select distinct on (load.partition_key) load.partition_key, load.partition::text as partition
from rowledger.load
where load.target = $1 and load.state = 'published' and load.partition is not null
order by load.partition_key, load.load_id desc;
