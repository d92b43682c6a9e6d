-- name: record_table_spec
-- Keep the spec of a table that is to be loaded, unless it is the one that is kept already.
insert into rowledger.table_spec as kept (table_name, target, spec, rowledger_version)
select $1, $2, $3::text::json, $4
where not exists (
    select from rowledger.table_spec as same where same.table_name = $1 and same.target = $2 and same.spec::text = $3::text
)
on conflict (table_name) do update set
    target = excluded.target, spec = excluded.spec, rowledger_version = excluded.rowledger_version,
    recorded_at = clock_timestamp()
where (kept.target, kept.spec::text) is distinct from (excluded.target, excluded.spec::text);

-- name: table_specs
-- The specs that are kept, the latest first.
select table_name, target, spec::text as spec from rowledger.table_spec order by recorded_at desc;
