-- name: schema_privileges
-- What this role may do with a schema; needs no privilege.
select
    namespace.oid is not null as is_there,
    coalesce(has_schema_privilege(namespace.oid, 'usage'), false) as usage,
    coalesce(has_schema_privilege(namespace.oid, 'create'), false) as create,
    has_database_privilege(current_database(), 'create') as may_create,
    current_database()::text as database
from (select) as always
left join pg_namespace as namespace on namespace.nspname = $1;

-- name: missing_table_privileges
-- Privileges among $3 that this role lacks on a table; some are good enough on each of the columns $4. Needs no privilege.
select wanted.privilege
from pg_class as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
cross join unnest($3::text[]) with ordinality as wanted (privilege, position)
where namespace.nspname = $1 and class.relname = $2 and not has_table_privilege(class.oid, wanted.privilege)
    and not (
        wanted.privilege in ('insert', 'update') and cardinality($4::text[]) > 0 and not exists (
            select from pg_attribute as attribute
            where attribute.attrelid = class.oid and attribute.attname = any ($4)
                and not has_column_privilege(class.oid, attribute.attnum, wanted.privilege)
        )
    )
order by wanted.position;

-- name: missing_ledger_privileges
-- Privileges among $1 that this role lacks on the ledger's tables. Needs no privilege.
select class.relname::text as table_name, array_agg(wanted.privilege order by wanted.position) as privileges
from pg_class as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
cross join unnest($1::text[]) with ordinality as wanted (privilege, position)
where namespace.nspname = 'rowledger' and class.relkind = 'r' and class.relname !~ '^staging_'
    -- Others may have tables of their own in the schema.
    and class.relowner = (
        select recorded.relowner from pg_class as recorded
        where recorded.relnamespace = class.relnamespace and recorded.relname = 'schema_version'
    )
    and not has_table_privilege(class.oid, wanted.privilege)
    -- Who has which version is for the ledger's owner to record.
    and (class.relname <> 'schema_version' or wanted.privilege = 'select')
group by class.relname
order by class.relname;

-- name: sequence_privileges
-- Sequences of a table ($1, $2) whose next value this role may not take, of columns other than $3: defaults are its own to run.
select distinct sequence_namespace.nspname::text as schema_name, sequence.relname::text as sequence_name
from pg_class as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
join pg_attribute as attribute on attribute.attrelid = class.oid and attribute.attnum > 0 and not attribute.attisdropped
join pg_attrdef as fill on fill.adrelid = class.oid and fill.adnum = attribute.attnum
join pg_depend as depends on depends.classid = 'pg_attrdef'::regclass and depends.objid = fill.oid
    and depends.refclassid = 'pg_class'::regclass
join pg_class as sequence on sequence.oid = depends.refobjid
join pg_namespace as sequence_namespace on sequence_namespace.oid = sequence.relnamespace
where namespace.nspname = $1 and class.relname = $2 and attribute.attname <> all ($3::text[])
    -- The function raises for what is no sequence, and the server chooses the order of conditions.
    and case when sequence.relkind = 'S' then not has_sequence_privilege(sequence.oid, 'usage, update') else false end;

-- name: relation_exists
-- Whether there is a relation of that schema and name. Needs no privilege.
select exists (
    select from pg_class as class
    join pg_namespace as namespace on namespace.oid = class.relnamespace
    where namespace.nspname = $1 and class.relname = $2
);

-- name: schema_exists
-- Whether there is a schema of that name. Needs no privilege.
select exists (select from pg_namespace where nspname = $1);

-- name: may_lock_against_writers
-- Whether this role may lock a table against other writers, which takes one of these privileges. Needs no privilege.
select has_table_privilege(class.oid, 'update, delete, truncate')
from pg_class as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
where namespace.nspname = $1 and class.relname = $2;

-- name: oid_of_table
-- A table's oid, by its schema and name; none where it is missing. Needs no privilege.
select class.oid
from pg_class as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
where namespace.nspname = $1 and class.relname = $2;

-- name: may_drop
-- Whether a table is there and this role may drop it. Needs no privilege.
select pg_has_role(class.relowner, 'usage') or pg_has_role(namespace.nspowner, 'usage')
from pg_class as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
where namespace.nspname = $1 and class.relname = $2;
