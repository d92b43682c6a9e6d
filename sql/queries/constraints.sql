-- name: unique_indexes
-- Unique indexes that are enforced, each with what it compares.
select
    class.relname::text as name,
    substr(
        pg_get_indexdef(class.oid),
        length(format(
            'CREATE UNIQUE INDEX %I ON %s%I.%I USING ', class.relname, case when class.relkind = 'I' then 'ONLY ' end,
            namespace.nspname, target.relname
        )) + 1
    ) as definition,
    (
        -- The definition of one column leaves out its collation, by which the index compares.
        select array_agg(
            pg_get_indexdef(class.oid, position, false)
            || coalesce(' collate ' || quote_ident(collation_namespace.nspname) || '.' || quote_ident(collated.collname), '')
            order by position
        )
        from generate_series(1, index.indnkeyatts) as position
        left join pg_collation as collated on collated.oid = index.indcollation[position - 1]
        left join pg_namespace as collation_namespace on collation_namespace.oid = collated.collnamespace
    ) as expressions,
    coalesce(columns.names, '{}') as columns,
    pg_get_expr(index.indpred, index.indrelid) as predicate,
    -- An index that ignores case where its column does not, or the other way round, keeps other values unique.
    index.indpred is null and index.indexprs is null and not exists (
        select from generate_series(1, index.indnkeyatts) as position
        join pg_attribute as attribute
            on attribute.attrelid = index.indrelid and attribute.attnum = index.indkey[position - 1]
        join pg_collation as collated on collated.oid in (index.indcollation[position - 1], attribute.attcollation)
        where index.indcollation[position - 1] <> attribute.attcollation and not collated.collisdeterministic
    ) as is_plain,
    -- NULLS NOT DISTINCT came with PostgreSQL 15.
    coalesce((to_jsonb(index) ->> 'indnullsnotdistinct')::boolean, false) as nulls_equal,
    index.indimmediate as immediate,
    index.indisvalid as is_valid
from pg_index as index
join pg_class as class on class.oid = index.indexrelid
join pg_class as target on target.oid = index.indrelid
join pg_namespace as namespace on namespace.oid = target.relnamespace
cross join lateral (
    select array_agg(attribute.attname::text order by attribute.attnum) as names
    from pg_attribute as attribute
    where attribute.attrelid = index.indrelid and (
        attribute.attnum = any ((index.indkey::smallint[])[0:index.indnkeyatts - 1])
        -- Columns that only an expression or the predicate speaks of.
        or not attribute.attnum = any (index.indkey::smallint[]) and exists (
            select from pg_depend
            where classid = 'pg_class'::regclass and objid = index.indexrelid
                and refclassid = 'pg_class'::regclass and refobjid = index.indrelid and refobjsubid = attribute.attnum
        )
    )
) as columns
where index.indrelid = $1 and index.indisunique and index.indisready
order by class.relname;

-- name: foreign_keys
-- Foreign keys that are enforced and whose parents can be read as the server reads them.
select
    constr.conname::text as name,
    array(
        select attribute.attname::text from unnest(constr.conkey) with ordinality as part (attnum, position)
        join pg_attribute as attribute on attribute.attrelid = constr.conrelid and attribute.attnum = part.attnum
        order by position
    ) as columns,
    format('%I.%I', namespace.nspname, parent.relname) as parent,
    array(
        select attribute.attname::text from unnest(constr.confkey) with ordinality as part (attnum, position)
        join pg_attribute as attribute on attribute.attrelid = constr.confrelid and attribute.attnum = part.attnum
        order by position
    ) as parent_columns,
    array(
        select coalesce(
            ' collate ' || quote_ident(collation_namespace.nspname) || '.' || quote_ident(collated.collname), ''
        )
        from unnest(constr.confkey) with ordinality as part (attnum, position)
        join pg_attribute as attribute on attribute.attrelid = constr.confrelid and attribute.attnum = part.attnum
        left join pg_collation as collated on collated.oid = attribute.attcollation
        left join pg_namespace as collation_namespace on collation_namespace.oid = collated.collnamespace
        order by position
    ) as parent_collations,
    constr.confmatchtype = 'f' as is_full,
    constr.confrelid = constr.conrelid as is_on_itself
from pg_constraint as constr
join pg_class as parent on parent.oid = constr.confrelid
join pg_namespace as namespace on namespace.oid = parent.relnamespace
where constr.conrelid = $1 and constr.contype = 'f'
    -- Of a foreign key to a partitioned table there is a copy for each of its partitions.
    and not exists (
        select from pg_constraint as whole where whole.oid = constr.conparentid and whole.conrelid = constr.conrelid
    )
    and coalesce((to_jsonb(constr) ->> 'conenforced')::boolean, true)
    and has_schema_privilege(parent.relnamespace, 'usage') and has_table_privilege(constr.confrelid, 'select')
    and not row_security_active(constr.confrelid)
order by constr.conname;

-- name: dependants_deleted_along
-- Foreign keys of others by which deleting from a table changes their rows.
select format('%s of %s', constr.conname, constr.conrelid::regclass)
from pg_constraint as constr
where constr.confrelid = $1 and constr.contype = 'f' and constr.confdeltype in ('c', 'n', 'd') and constr.conparentid = 0
    and constr.conrelid <> constr.confrelid;

-- name: triggers_and_rules
-- What acts on rows that are inserted or deleted (bits 4 and 8), and would not where a staging table took their place.
select format('trigger %s', tgname) from pg_trigger
where tgrelid = $1 and not tgisinternal and tgenabled <> 'D' and tgtype & 12 <> 0
union all
select format('rule %s', rulename) from pg_rewrite where ev_class = $1 and ev_type in ('3', '4') and ev_enabled <> 'D';

-- name: acts_on_rows
-- The first of a table's ($1) triggers and rules that act on rows which are written or deleted, and triggers of its partitions.
select format('trigger %s', tgname) || case when tgrelid <> $1 then format(' of %s', tgrelid::regclass) else '' end
from pg_trigger
where not tgisinternal and tgparentid = 0 and tgenabled <> 'D' and tgtype & 28 <> 0
    and (tgrelid = $1 or $1 in (select relid from pg_partition_ancestors(tgrelid) as ancestor (relid)))
union all
select format('rule %s', rulename) from pg_rewrite
where ev_class = $1 and ev_type in ('2', '3', '4') and ev_enabled <> 'D'
limit 5;

-- name: has_triggers_or_rules
-- Whether anything of the table's own, or of its partitions, acts on rows that are written to it. What a partition has from its
-- parent is the parent's; one that is disabled may be enabled on a partition.
select exists (
    select from pg_trigger
    where not tgisinternal and tgparentid = 0 and tgtype & 28 <> 0
        and (tgrelid = $1 or $1 in (select relid from pg_partition_ancestors(tgrelid) as ancestor (relid)))
) or exists (select from pg_rewrite where ev_class = $1 and ev_type in ('2', '3', '4') and ev_enabled <> 'D');

-- name: is_referenced
-- Whether rows of other tables refer to this table's.
select exists (select from pg_constraint where confrelid = $1 and contype = 'f');

-- name: lock_room
-- How many locks all transactions of the server can have at once, and how many one takes to read a partition of a table ($1).
select
    current_setting('max_locks_per_transaction')::bigint
    * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint) as locks,
    1 + (select count(*) from pg_index where indrelid = $1) as locks_of_partition;
