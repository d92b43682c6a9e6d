-- name: applied_migrations
-- The migrations that the ledger has had, oldest first; before version 6 without checksums.
select applied.version, applied.name, to_jsonb(applied) ->> 'checksum' as checksum
from rowledger.schema_version as applied
order by applied.version;

-- name: newest_migration
-- The ledger's version.
select max(version) from rowledger.schema_version;

-- name: record_schema_version
-- One migration done.
insert into rowledger.schema_version (version, name) values ($1, $2);

-- name: record_checksums
-- The texts of the migrations that were done now.
update rowledger.schema_version as applied set checksum = done.checksum, rowledger_version = $3
from unnest($1::integer[], $2::text[]) as done (version, checksum)
where applied.version = done.version and applied.rowledger_version is null;

-- name: ledger_facts
-- Whether the schema ($1) and its ledger are there, and what this role may do about that; needs no privilege.
select
    current_user::text as role,
    current_database()::text as database,
    namespace.oid is not null as has_schema,
    coalesce(has_schema_privilege(namespace.oid, 'usage'), false) as may_use_schema,
    recorded.oid is not null as has_ledger,
    coalesce(has_table_privilege(recorded.oid, 'select'), false) as may_read_version,
    coalesce(pg_has_role(recorded.relowner, 'usage'), false) as owns_ledger,
    pg_get_userbyid(recorded.relowner)::text as owner
from (select) as always
left join pg_namespace as namespace on namespace.nspname = $1
left join pg_class as recorded on recorded.relnamespace = namespace.oid and recorded.relname = 'schema_version';

-- name: living_runs
-- Runs that are at work on this ledger, by the sessions that carry their names and by their leases.
select distinct on (named.holder)
    coalesce(activity.usename::text, '?') as role, activity.pid as backend_pid,
    load.table_name, load.partition_key, load.run_id, lease.holder_pid, lease.holder_host
from pg_stat_activity as activity
cross join lateral (
    select substring(activity.application_name from '^rowledger [a-z]+ (?:\S+ )?of ([0-9a-f]{32})') as holder
) as named
left join rowledger.lease on replace(lease.holder::text, '-', '') = named.holder
left join rowledger.load using (load_id)
where activity.datname = current_database() and named.holder is not null
order by named.holder, lease.load_id nulls last;

-- name: ledger_tables
-- The tables in the ledger's schema.
select class.relname::text as name
from pg_class as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
where namespace.nspname = 'rowledger' and class.relkind = 'r';

-- name: share_grants
-- Statements that let the roles which read or write the ledger's loads do the same with tables that it has got since ($1: before).
select format(
    'grant %s on table %I.%I to %s',
    case when writes.may then 'select, insert, update, delete' else 'select' end,
    namespace.nspname, other.relname,
    case when acl.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end
) as statement
from pg_class as load
join pg_namespace as namespace on namespace.oid = load.relnamespace
join pg_class as other on other.relnamespace = namespace.oid and other.relkind = 'r' and other.relowner = load.relowner
    and other.relname <> all ($1::text[]) and other.relname <> 'load'
cross join lateral (
    select acl.grantee, array_agg(acl.privilege_type) as privileges from aclexplode(load.relacl) as acl group by acl.grantee
) as acl
cross join lateral (select acl.privileges @> '{INSERT,UPDATE,DELETE}' as may) as writes
where namespace.nspname = 'rowledger' and load.relname = 'load' and acl.grantee <> load.relowner and 'SELECT' = any (acl.privileges)
order by statement;
