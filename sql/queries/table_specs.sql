-- name: record_table_spec
-- Keep the spec of a table that is to be loaded, unless it is the one that is kept already. A load without Dagster has no asset
-- key ($5), and leaves the key that is kept.
insert into rowledger.table_spec as kept (table_name, target, spec, rowledger_version, asset_key)
select $1, $2, $3::text::json, $4, $5::text[]
where not exists (
    select from rowledger.table_spec as same
    where same.table_name = $1 and same.target = $2 and same.spec::text = $3::text
        and ($5::text[] is null or same.asset_key = $5::text[])
)
on conflict (table_name) do update set
    target = excluded.target, spec = excluded.spec, rowledger_version = excluded.rowledger_version,
    asset_key = coalesce(excluded.asset_key, kept.asset_key), recorded_at = clock_timestamp()
where (kept.target, kept.spec::text, kept.asset_key)
    is distinct from (excluded.target, excluded.spec::text, coalesce(excluded.asset_key, kept.asset_key));

-- name: other_table_of_name
-- A table with this name ($1) that another asset has loaded, somewhere else, and whose rows the ledger answers for.
select target, array_to_string(asset_key, '/') as asset from rowledger.table_spec as kept
where table_name = $1 and target <> $2 and asset_key <> $3::text[]
    and exists (select from rowledger.load where load.target = kept.target and load.state = 'published');

-- name: other_asset_of_table
-- The asset, another one than $3, that was the last to load this table ($1, into $2). One that has loaded a table of another name
-- since then has that one now.
select array_to_string(asset_key, '/') as asset, asset_key from rowledger.table_spec as kept
where table_name = $1 and target = $2 and asset_key <> $3::text[]
    and not exists (
        select from rowledger.table_spec as other
        where other.asset_key = kept.asset_key and other.table_name <> $1 and other.recorded_at > kept.recorded_at
    );

-- name: other_table_in_target
-- The name of another table spec whose published rows are in a target.
select table_name from rowledger.load where target = $1 and state = 'published' and table_name <> $2 order by load_id desc limit 1;

-- name: other_table_in_partition
-- The same for one partition ($3) of it: a query of its own, so that the index on partitions answers it among many loads.
select table_name from rowledger.load
where target = $1 and partition_key = $3 and state = 'published' and table_name <> $2
order by load_id desc
limit 1;

-- name: table_specs
-- The specs that are kept, the latest first.
select table_name, target, spec::text as spec, asset_key from rowledger.table_spec order by recorded_at desc;
