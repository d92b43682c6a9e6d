-- name: server_facts
-- What a guarantee stands on.
select current_setting('server_version_num')::integer as version_num, current_setting('server_encoding') as encoding,
    current_setting('server_version') as version;

-- name: find_relation
-- A table by its unquoted name, how it is partitioned where it is, and whether this role may attach and replace parts of it.
select
    class.oid, class.relkind::text as kind, partitioned.partstrat::text as strategy,
    pg_has_role(class.relowner, 'usage') and has_schema_privilege(namespace.oid, 'create') as is_ours,
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
-- Columns in order, with what matters for writing to them. `type` is the one beneath domains, which are written as it is;
-- `loose_collation` is the column's collation where that may hold different texts equal.
with recursive declared as (
    select
        attribute.attnum, attribute.attname, attribute.atttypid, attribute.atttypmod, attribute.attcollation, attribute.attnotnull,
        attribute.atthasdef or attribute.attidentity <> '' as has_default, attribute.attgenerated <> '' as generated
    from pg_attribute as attribute
    where attribute.attrelid = $1 and attribute.attnum > 0 and not attribute.attisdropped
),
step as (
    select attnum, atttypid as type_id, atttypmod as modifier, false as is_array, false as not_null, false as has_default, 0 as depth
    from declared
    union all
    select
        step.attnum,
        case when type.typtype = 'd' then type.typbasetype else type.typelem end,
        case when type.typtype = 'd' then type.typtypmod else step.modifier end,
        step.is_array or type.typtype <> 'd',
        step.not_null or not step.is_array and type.typtype = 'd' and type.typnotnull,
        step.has_default or not step.is_array and type.typtype = 'd' and type.typdefault is not null,
        step.depth + 1
    from step
    join pg_type as type on type.oid = step.type_id
    left join pg_type as element on element.oid = type.typelem and element.typarray = type.oid
    -- Arrays of arrays, which a domain can make, stay as they are: text.
    where type.typtype = 'd' or element.oid is not null and not step.is_array
)
select
    declared.attname::text as name,
    format_type(declared.atttypid, declared.atttypmod) as declared_type,
    format_type(step.type_id, step.modifier) || case when step.is_array then '[]' else '' end as type,
    declared.attnotnull or step.not_null as not_null,
    declared.attnotnull as column_not_null,
    declared.has_default or step.has_default as has_default,
    declared.generated,
    type.typname = 'citext' as is_citext,
    (
        select collated.oid::regcollation::text from pg_collation as collated
        where collated.oid = declared.attcollation and not collated.collisdeterministic
    ) as loose_collation,
    (select array_agg(enumlabel::text order by enumsortorder) from pg_enum where enumtypid = step.type_id) as labels
from declared
join (select distinct on (attnum) * from step order by attnum, depth desc) as step using (attnum)
join pg_type as type on type.oid = step.type_id
order by declared.attnum;

-- name: beside_like
-- What CREATE TABLE (LIKE …) leaves out of a table (a quoted name): what it asks of its rows where it is a partition itself,
-- and the columns that the server numbers.
select
    case when class.relispartition then pg_get_partition_constraintdef(class.oid) end as own_bounds,
    array(
        select attribute.attname::text from pg_attribute as attribute
        where attribute.attrelid = class.oid and attribute.attidentity <> '' and not attribute.attisdropped
    ) as identities
from pg_class as class
where class.oid = to_regclass($1);

-- name: identity_columns
-- Columns that the server numbers, and the sequences that it takes the numbers from.
select
    attribute.attname::text as name,
    pg_get_serial_sequence(attribute.attrelid::regclass::text, attribute.attname) as sequence
from pg_attribute as attribute
where attribute.attrelid = $1 and attribute.attidentity <> '' and not attribute.attisdropped;

-- name: staging_tables
-- Staging tables whose load has ended, left behind by a process that died, and whether this role may drop them.
select class.relname::text as name, pg_get_userbyid(class.relowner)::text as owner,
    pg_has_role(class.relowner, 'usage') or pg_has_role(namespace.nspowner, 'usage') as is_ours
from pg_class as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
where namespace.nspname = 'rowledger' and class.relkind = 'r' and class.relname ~ '^staging_[0-9]{1,18}$'
    and not exists (
        select from rowledger.load
        where load.load_id = substring(class.relname from 9)::bigint and load.state = 'loading'
    )
order by class.relname;

-- name: terminate_backend
-- End one session and no other: by now its pid may be another backend's, and a pooler may have given this very backend to another
-- client, whose name does not match any of the patterns $3.
select pg_terminate_backend(pid) from pg_stat_activity
where pid = $1 and backend_start = $2 and application_name like any ($3::text[]);

-- name: cancel_statement
-- Cancel what one session has the server do, and no other; nothing where the server waits for that session's client.
select pg_cancel_backend(pid)
from pg_stat_activity
where pid = $1 and backend_start = $2 and state = 'active' and wait_event_type is distinct from 'Client';

-- name: own_backend
-- What identifies this session to others, and where its settings are not those wanted: $1 names, $2 values. It runs before the
-- search path is set, so each name of the server is qualified.
select
    activity.pid, activity.backend_start,
    array(
        select wanted.name
        from rows from (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) as wanted (name, value)
        where pg_catalog.current_setting(wanted.name, true) operator(pg_catalog.<>) wanted.value
    ) as differing,
    pg_catalog.current_setting('session_replication_role') as replication_role,
    pg_catalog.current_schemas(false)::pg_catalog.text[] as schemas
from pg_catalog.pg_stat_activity as activity
where activity.pid operator(pg_catalog.=) pg_catalog.pg_backend_pid();

-- name: pin_settings
-- Set the session's settings $1 to $2.
select pg_catalog.set_config(wanted.name, wanted.value, false)
from rows from (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) as wanted (name, value);

-- name: has_primary_key
-- Whether the table (a quoted name) has a primary key.
select exists (select from pg_index where indrelid = to_regclass($1) and indisprimary);

-- name: may_identify_server
-- Whether this role may ask what identifies a server.
select has_function_privilege('pg_catalog.pg_control_system()', 'execute');

-- name: server_identity
-- What identifies this database on its server, by whatever address it is reached.
select format('%s/%s', (select system_identifier from pg_catalog.pg_control_system()), current_database());

-- name: terminate_sessions
-- End what a run has open, but for ourselves, by the patterns of its names. A role may end the sessions of some roles only.
with found as (
    select activity.pid, role.rolname::text as role, activity.application_name as name,
        (pg_has_role(role.oid, 'usage') or pg_has_role('pg_signal_backend', 'usage'))
            and (not role.rolsuper or current_setting('is_superuser') = 'on') as may_end
    from pg_stat_activity as activity
    join pg_roles as role on role.oid = activity.usesysid
    where activity.application_name like any ($1::text[]) and activity.pid <> pg_backend_pid()
)
select pid, role, name, may_end, case when may_end then pg_terminate_backend(pid) end as is_ended from found order by pid;

-- name: check_constraints
-- The CHECK constraints of a table (a quoted name), in the order in which the server applies them.
select conname::text as name, pg_get_expr(conbin, conrelid) as expression
from pg_constraint
where conrelid = to_regclass($1) and contype = 'c'
order by conname;

-- name: row_security
-- Tables on which row security applies to this role: the target ($1) and the parents of its foreign keys, or else the ledger's.
select namespace.nspname::text as schema_name, class.relname::text as table_name,
    pg_has_role(class.relowner, 'usage') as is_owner
from pg_class as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
where class.relrowsecurity and row_security_active(class.oid)
    and case
        when $1::oid is null then namespace.nspname = 'rowledger' and class.relname !~ '^staging_[0-9]+$'
        else class.oid = $1 or class.oid in (
            select confrelid from pg_constraint where conrelid = $1 and contype = 'f'
        )
    end
order by 1, 2;

-- name: missing_standby
-- The setting, where a COMMIT of this session would wait for a standby and none is connected; a role that may not see what kind
-- of standby there is takes any for one.
select current_setting('synchronous_standby_names')
where current_setting('synchronous_standby_names') <> '' and current_setting('synchronous_commit') not in ('off', 'local')
    and not exists (select from pg_stat_replication where coalesce(sync_state, 'sync') in ('sync', 'quorum'));

-- name: end_commit_in_wait
-- End a session whose COMMIT waits for a standby, and no other; the setting that it waits for, if it was so. The call stands in
-- the select list: the server chooses the order of conditions, and as one of them it ended each session that it was asked about.
select case when pg_terminate_backend(pid) then current_setting('synchronous_standby_names') end
from pg_stat_activity
where pid = $1 and backend_start = $2 and wait_event = 'SyncRep';

-- name: is_owner
-- Whether this role may alter a table: its owner, a member of it, a superuser.
select pg_has_role(relowner, 'usage') from pg_class where oid = $1;

-- name: is_outdated
-- Whether a table ($1, a quoted name; $2 as the ledger names it) was made by a run with another statement than now ($3), and
-- neither loads nor others have made anything of it since.
select exists (
    select from pg_class as class
    where class.oid = to_regclass($1)
        and obj_description(class.oid, 'pg_class') ~ '^made by Rowledger \([0-9a-f]+\)$'
        and obj_description(class.oid, 'pg_class') <> $3
        and pg_has_role(class.relowner, 'usage')
        and not exists (
            select from rowledger.load left join rowledger.lease using (load_id)
            where load.target = $2 and (load.state in ('published', 'replaced', 'repeated') or lease.load_id is not null)
        )
        and class.relacl is null and class.reloptions is null and not class.relrowsecurity and not class.relhasrules
        and class.relpersistence = 'p' and class.relreplident = 'd'
        and not exists (select from pg_inherits where class.oid in (inhrelid, inhparent))
        and not exists (select from pg_trigger where tgrelid = class.oid)
        and not exists (select from pg_policy where polrelid = class.oid)
        and not exists (select from pg_publication_rel where prrelid = class.oid)
        and not exists (select from pg_statistic_ext where stxrelid = class.oid)
        and not exists (select from pg_index where indrelid = class.oid and not indisprimary)
        and not exists (
            select from pg_constraint
            where contype = 'f' and class.oid in (conrelid, confrelid) or contype = 'c' and conrelid = class.oid
        )
        and not exists (select from pg_attrdef where adrelid = class.oid)
        and not exists (select from pg_attribute where attrelid = class.oid and (attacl is not null or attoptions is not null))
        and not exists (
            select from pg_description where classoid = 'pg_class'::regclass and objoid = class.oid and objsubid <> 0
        )
        and not exists (
            select from pg_depend
            where refclassid = 'pg_class'::regclass and refobjid = class.oid and deptype = 'n'
                or refclassid = 'pg_type'::regclass and refobjid = class.reltype and deptype = 'n'
        )
);
