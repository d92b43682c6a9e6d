-- name: server_facts
-- What a guarantee stands on.
select current_setting('server_version_num')::integer as version_num, current_setting('server_encoding') as encoding,
    current_setting('server_version') as version;

-- name: schema_version
-- The ledger's version; fails with 42P01 where there is no ledger yet.
select coalesce(max(version), 0) from rowledger.schema_version;

-- name: record_schema_version
-- One migration done.
insert into rowledger.schema_version (version, name) values ($1, $2);

-- name: find_relation
-- A table by its unquoted name, and how it is partitioned where it is.
select
    class.oid, class.relkind::text as kind, partitioned.partstrat::text as strategy,
    partitioned.partnatts as key_columns,
    (
        select attribute.attname from pg_attribute as attribute
        where attribute.attrelid = class.oid and attribute.attnum = partitioned.partattrs[0]
    )::text as key_column
from pg_class as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
left join pg_partitioned_table as partitioned on partitioned.partrelid = class.oid
where namespace.nspname = $1 and class.relname = $2;

-- name: relation_columns
-- Columns in order, with what matters for writing to them.
select
    attribute.attname::text as name,
    format_type(attribute.atttypid, attribute.atttypmod) as type,
    attribute.attnotnull as not_null,
    attribute.atthasdef or attribute.attidentity <> '' as has_default,
    attribute.attgenerated <> '' as generated
from pg_attribute as attribute
where attribute.attrelid = $1 and attribute.attnum > 0 and not attribute.attisdropped
order by attribute.attnum;

-- name: attached_partition
-- The partition that holds exactly these bounds, if there is one.
select namespace.nspname::text as schema_name, class.relname::text as table_name
from pg_inherits
join pg_class as class on class.oid = pg_inherits.inhrelid
join pg_namespace as namespace on namespace.oid = class.relnamespace
where pg_inherits.inhparent = $1
    and pg_get_expr(class.relpartbound, class.oid) = format('FOR VALUES FROM (%L) TO (%L)', $2::text, $3::text);

-- name: staging_tables
-- Staging tables whose load has ended, left behind by a process that died.
select class.relname::text as name
from pg_class as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
where namespace.nspname = 'rowledger' and class.relkind = 'r' and class.relname ~ '^staging_[0-9]+$'
    and not exists (
        select from rowledger.load
        where load.load_id = substring(class.relname from 9)::bigint and load.state = 'loading'
    );

-- name: terminate_backend
-- End one session and no other: a pid alone may have been given to somebody else by now.
select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and backend_start = $2;

-- name: own_backend
-- What identifies this session to others.
select pid, backend_start from pg_stat_activity where pid = pg_backend_pid();

-- name: has_primary_key
-- Whether the table (a quoted name) has a primary key.
select exists (select from pg_index where indrelid = to_regclass($1) and indisprimary);
