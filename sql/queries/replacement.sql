-- name: attached_partitions
-- Of the partitions of a table ($1) that may hold some rows ($3, quoted names): the one of exactly these bounds ($2), and the
-- DEFAULT partition. Neither the bounds of all partitions nor all tables are read, since there may be tens of thousands.
with partitioned as materialized (select partdefid from pg_partitioned_table where partrelid = $1),
candidate as materialized (
    select partdefid as oid from partitioned where partdefid <> 0
    union
    select inherits.inhrelid
    from unnest($3::text[]) as leaf (name)
    cross join lateral pg_partition_ancestors(to_regclass(leaf.name)) as ancestor (oid)
    join pg_inherits as inherits on inherits.inhrelid = ancestor.oid and inherits.inhparent = $1
)
select
    class.oid, namespace.nspname::text as schema_name, class.relname::text as table_name,
    class.oid = partitioned.partdefid as is_default, class.relkind = 'r' as is_plain
from candidate
cross join partitioned
cross join lateral (select * from pg_class where pg_class.oid = candidate.oid offset 0) as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
where class.oid = partitioned.partdefid or pg_get_expr(class.relpartbound, class.oid) = $2::text;

-- name: has_taken_its_place
-- Whether another table than $1 has the name $2 (quoted) by now.
select to_regclass($2) is distinct from $1::oid::regclass;

-- name: properties_lost
-- What a table ($1) has that the staging table ($2, a quoted name) would not have in its place: as a partition ($3), which also
-- gets what its parent gives to each of them, or as a table of its own. Grants by the owner are left out: they are granted anew.
with old as (select * from pg_class where oid = $1),
new as (select * from pg_class where oid = to_regclass($2)),
parent as (select inhparent as oid from pg_inherits where inhrelid = $1 and $3),
old_column as (
    select attribute.*, pg_get_expr(adbin, adrelid) as default_sql, col_description(attrelid, attnum) as comment
    from pg_attribute as attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where attrelid = $1 and attnum > 0 and not attisdropped
),
new_column as (
    select attribute.*, pg_get_expr(adbin, adrelid) as default_sql, col_description(attrelid, attnum) as comment
    from new join pg_attribute as attribute on attrelid = new.oid left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where attnum > 0 and not attisdropped
),
constraint_of as (
    select conrelid, oid, conname, contype, conparentid, pg_get_constraintdef(oid) as definition
    from pg_constraint
    where conrelid = $1 or conrelid = (select oid from new)
),
index_of as (
    select
        index.indrelid, index.indexrelid, class.relname, index.indisprimary, class.reloptions, class.reltablespace,
        inherits.inhparent,
        index.indisclustered or index.indisreplident or exists (
            select from pg_attribute where attrelid = index.indexrelid and coalesce(attstattarget, -1) >= 0
        ) as is_set,
        row(
            index.indisunique, index.indisprimary, index.indimmediate, index.indnkeyatts, to_jsonb(index) ->> 'indnullsnotdistinct',
            array(select pg_get_indexdef(index.indexrelid, position, false) from generate_series(1, index.indnatts) as position),
            index.indclass::text, index.indcollation::text, index.indoption::text, pg_get_expr(index.indpred, index.indrelid),
            class.relam, class.reloptions, class.reltablespace,
            array(
                select pg_get_constraintdef(oid) from pg_constraint
                where conrelid = index.indrelid and conindid = index.indexrelid and contype in ('p', 'u', 'x')
            )
        )::text as definition
    from pg_index as index
    join pg_class as class on class.oid = index.indexrelid
    left join pg_inherits as inherits on inherits.inhrelid = index.indexrelid
    where index.indrelid = $1 or index.indrelid = (select oid from new)
)
select listed.property
from old
cross join new
left join pg_class as old_toast on old_toast.oid = old.reltoastrelid
left join pg_class as new_toast on new_toast.oid = new.reltoastrelid
cross join lateral (
    values
    ('its kind of table', old.relkind <> new.relkind or old.reloftype <> 0),
    ('its persistence', old.relpersistence <> new.relpersistence),
    ('its owner', old.relowner <> new.relowner),
    ('its tablespace', old.reltablespace <> new.reltablespace),
    ('its access method', old.relam <> new.relam),
    ('storage parameters', old.reloptions is distinct from new.reloptions),
    ('storage parameters of its TOAST table', old_toast.reloptions is distinct from new_toast.reloptions),
    ('a replica identity', old.relreplident <> new.relreplident),
    ('row security', old.relrowsecurity or old.relforcerowsecurity),
    (
        'a comment',
        obj_description(old.oid, 'pg_class') is not null
        and obj_description(old.oid, 'pg_class') is distinct from obj_description(new.oid, 'pg_class')
        and obj_description(old.oid, 'pg_class') !~ '^made by Rowledger '
    ),
    (
        'inheritance',
        old.relispartition and not $3
        or exists (select from pg_inherits where inhparent = old.oid or inhrelid = old.oid and not $3)
    ),
    (
        'other columns, or in another order',
        not $3 and (select array_agg(attname order by attnum) from old_column)
        is distinct from (select array_agg(attname order by attnum) from new_column)
    ),
    (
        'grants of its own',
        exists (  -- by others than its owner, who would not be the ones to have granted them
            select from aclexplode(old.relacl) as acl where acl.grantor <> old.relowner
        ) or exists (  -- a right that its owner has given up
            select from aclexplode(acldefault('r', old.relowner)) as acl
            where old.relacl is not null and not exists (
                select from aclexplode(old.relacl) as kept
                where kept.grantee = acl.grantee and kept.privilege_type = acl.privilege_type
            )
        ) or exists (  -- a right that others would get
            select from aclexplode(new.relacl) as acl
            where acl.grantee <> new.relowner and not exists (
                select from aclexplode(old.relacl) as given
                where given.grantee = acl.grantee and given.privilege_type = acl.privilege_type
                    and given.is_grantable >= acl.is_grantable
            )
        )
    )
) as listed (property, is_lost)
where listed.is_lost
union all
select format('column %s (%s)', old_column.attname, listed.property)
from old_column
left join new_column on new_column.attname = old_column.attname
left join pg_attribute as parents on parents.attrelid = (select oid from parent) and parents.attname = old_column.attname
cross join lateral (
    values
    ('the column itself', new_column.attname is null),
    (
        'type',
        row(old_column.atttypid, old_column.atttypmod, old_column.attcollation)
        <> row(new_column.atttypid, new_column.atttypmod, new_column.attcollation)
    ),
    (
        'nullability',
        old_column.attnotnull and not new_column.attnotnull or not $3 and old_column.attnotnull <> new_column.attnotnull
    ),
    (
        'default',
        coalesce(parents.attidentity, '') = '' and old_column.default_sql is distinct from new_column.default_sql
        or old_column.attgenerated <> new_column.attgenerated
    ),
    ('identity', old_column.attidentity not in ('', coalesce(parents.attidentity, ''))),
    ('storage', old_column.attstorage <> new_column.attstorage or old_column.attcompression <> new_column.attcompression),
    ('statistics target', coalesce(old_column.attstattarget, -1) <> coalesce(new_column.attstattarget, -1)),
    ('options', old_column.attoptions is distinct from new_column.attoptions),
    ('grants', old_column.attacl is not null),
    ('comment', old_column.comment is not null and old_column.comment is distinct from new_column.comment)
) as listed (property, is_lost)
where listed.is_lost and (new_column.attname is not null or listed.property = 'the column itself')
union all
select format('CHECK constraint %s', own.conname)
from constraint_of as own
where own.contype = 'c' and (own.conrelid = $1 or not $3) and not exists (
    select from constraint_of as other
    where other.conrelid <> own.conrelid and other.contype = 'c' and other.conname = own.conname
        and other.definition = own.definition
)
union all
select format('foreign key %s', conname)
from pg_constraint
where contype = 'f' and conparentid = 0 and $1 in (conrelid, confrelid)
union all
select format('index %s', own.relname)
from index_of as own
where own.indrelid = $1 and case
    when $3 and own.inhparent is not null then own.is_set or exists (
        select from pg_class as parents
        where parents.oid = own.inhparent
            and (parents.reloptions is distinct from own.reloptions or parents.reltablespace <> own.reltablespace)
    )
    else own.is_set
        -- The indexes that a load has built are built again.
        or case when $3 then own.relname !~ '^staging_[0-9]+_' else not own.indisprimary end
        or not exists (select from index_of as other where other.indrelid <> $1 and other.definition = own.definition)
end
union all
select 'no primary key'
from index_of as other
where other.indrelid <> $1 and other.indisprimary and not $3
    and not exists (select from index_of as own where own.indrelid = $1 and own.indisprimary)
union all
select format('trigger %s', own.tgname)
from pg_trigger as own
left join pg_trigger as parents on parents.oid = own.tgparentid
where own.tgrelid = $1
    and case when own.tgisinternal then own.tgenabled <> 'O' else parents.tgenabled is distinct from own.tgenabled end
union all
select format('rule %s', rulename) from pg_rewrite where ev_class = $1
union all
select format('policy %s', polname) from pg_policy where polrelid = $1
union all
select format('extended statistics %s', stxname) from pg_statistic_ext where stxrelid = $1
union all
select 'a subscription' from pg_subscription_rel where srrelid = $1
union all
select 'a security label' from pg_seclabel where classoid = 'pg_class'::regclass and objoid = $1
union all
select format('membership in %s', pg_describe_object(refclassid, refobjid, 0))
from pg_depend
where classid = 'pg_class'::regclass and objid = $1 and refclassid = 'pg_extension'::regclass
union all
select format('%s, which belongs to it', pg_describe_object(depend.classid, depend.objid, 0))
from pg_depend as depend
join pg_class as sequence on sequence.oid = depend.objid and sequence.relkind = 'S'
where depend.classid = 'pg_class'::regclass and depend.refclassid = 'pg_class'::regclass and depend.refobjid = $1
    and depend.deptype in ('a', 'i')
union all
select distinct format('%s, which depends on it', pg_describe_object(depend.classid, depend.objid, 0))
from pg_depend as depend
where depend.deptype = 'n'
    and not exists (  -- foreign keys are listed above, and its own expressions go with it
        select from pg_constraint
        where depend.classid = 'pg_constraint'::regclass and oid = depend.objid and (contype = 'f' or conrelid = $1)
    )
    and not exists (
        select from pg_attrdef where depend.classid = 'pg_attrdef'::regclass and oid = depend.objid and adrelid = $1
    )
    and (
        depend.refclassid = 'pg_class'::regclass and depend.refobjid = $1
        or depend.refclassid = 'pg_type'::regclass and depend.refobjid in (
            select unnest(array[type.oid, type.typarray]) from old join pg_type as type on type.oid = old.reltype
        )
    )
union all
select format('a comment on %s', pg_describe_object(described.classoid, described.objoid, 0))
from pg_description as described
where (
    described.classoid = 'pg_constraint'::regclass and described.objoid in (select oid from constraint_of where conrelid = $1)
    or described.classoid = 'pg_class'::regclass and described.objoid in (select indexrelid from index_of where indrelid = $1)
    or described.classoid = 'pg_trigger'::regclass and described.objoid in (select oid from pg_trigger where tgrelid = $1)
) and not exists (
    select from constraint_of as own
    join constraint_of as other on other.conrelid <> own.conrelid and other.conname = own.conname
    where own.oid = described.objoid and described.classoid = 'pg_constraint'::regclass
        and obj_description(other.oid, 'pg_constraint') = described.description
);

-- name: publications
-- Publications that send what is written to a table ($1), or to a table that it is a partition of, to subscribers: rows that
-- come with an attached table are not sent.
select pubname::text as name from pg_publication where puballtables
union
select publication.pubname::text
from pg_publication_rel as member
join pg_publication as publication on publication.oid = member.prpubid
where member.prrelid = $1 or member.prrelid in (select relid from pg_partition_ancestors($1) as ancestor (relid));

-- name: publications_of_schemas
-- The same for publications of whole schemas, which PostgreSQL has from version 15 on.
select publication.pubname::text as name
from pg_publication_namespace as member
join pg_publication as publication on publication.oid = member.pnpubid
where member.pnnspid in (
    select relnamespace from pg_class
    where oid = $1 or oid in (select relid from pg_partition_ancestors($1) as ancestor (relid))
);

-- name: grant_statements
-- The rights on a table ($1) as statements that grant the same on another ($2, a quoted name).
select format(
    'grant %s on table %s to %s%s',
    acl.privilege_type,
    $2::text,
    case when acl.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end,
    case when acl.is_grantable then ' with grant option' else '' end
) as statement
from pg_class, aclexplode(relacl) as acl
where oid = $1 and acl.grantee <> relowner;

-- name: primary_key_constraint
-- The name of a table's ($1, an oid) primary key.
select conname::text from pg_constraint where conrelid = $1 and contype = 'p';

-- name: old_snapshots
-- Transactions of others in this database whose snapshot may be older than the last change of a load's staging table ($1):
-- those would see a part of its rows. What VACUUM holds is left out, since it reads no rows for anybody.
select
    (
        select lock.virtualtransaction from pg_locks as lock
        where lock.pid = activity.pid and lock.locktype = 'virtualxid' and lock.virtualxid = lock.virtualtransaction
    ) as transaction,
    activity.backend_xmin::text as oldest
from pg_stat_activity as activity
where activity.datname = current_database() and activity.usesysid is not null and activity.backend_xmin is not null
    and activity.pid <> pg_backend_pid() and coalesce(activity.application_name, '') not like 'rowledger %'
    and age(activity.backend_xmin) >= (select min(age(chunk.xmin)) from rowledger.chunk where chunk.load_id = $1)
    and activity.pid not in (select pid from pg_stat_progress_vacuum);

-- name: has_stale_checks
-- Whether a staging table ($1, a quoted name) has a CHECK that its target ($2) has not, or not any more: it would refuse rows for
-- it. $3: the constraints that staging tables have of their own.
select exists (
    select from pg_constraint as has
    where has.conrelid = to_regclass($1) and has.contype = 'c' and has.conname <> all ($3::text[])
        and not exists (
            select from pg_constraint as had
            where had.conrelid = $2 and had.contype = 'c' and had.conname = has.conname
                and pg_get_constraintdef(had.oid) = pg_get_constraintdef(has.oid)
        )
);

-- name: staging_changes
-- What of a staging table ($1, a quoted name) is not as a load makes it from its target ($2): with the contract's columns ($3),
-- and the constraint by which it takes only rows of its partition ($4, null where the table is loaded whole).
with staging as (select * from pg_class where oid = to_regclass($1)),
had as (
    select attribute.*, pg_get_expr(adbin, adrelid) as default_sql
    from pg_attribute as attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where attrelid = $2 and attnum > 0 and not attisdropped
),
has as (
    select attribute.*, pg_get_expr(adbin, adrelid) as default_sql
    from staging join pg_attribute as attribute on attrelid = staging.oid
    left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where attnum > 0 and not attisdropped
)
select listed.change
from staging
cross join lateral (
    values
    ('its persistence', staging.relpersistence <> 'p'),
    ('its kind of table', staging.relkind <> 'r' or staging.relispartition or staging.reloftype <> 0),
    ('its owner', pg_get_userbyid(staging.relowner) <> current_user),
    ('storage parameters', staging.reloptions is not null),
    ('a replica identity', staging.relreplident <> 'd'),
    ('row security', staging.relrowsecurity or staging.relforcerowsecurity),
    ('inheritance', exists (select from pg_inherits where staging.oid in (inhrelid, inhparent))),
    ('a rule', exists (select from pg_rewrite where ev_class = staging.oid)),
    ('a policy', exists (select from pg_policy where polrelid = staging.oid)),
    (
        'its bounds',
        $4::text is not null and not exists (
            select from pg_constraint where conrelid = staging.oid and conname = $4::text and contype = 'c' and convalidated
        )
    )
) as listed (change, is_so)
where listed.is_so
union all
select format('column %s', wanted.name)
from unnest($3::text[]) as wanted (name)
left join had on had.attname = wanted.name
left join has on has.attname = wanted.name
where has.attname is null or had.attname is not null and (
    row(has.atttypid, has.atttypmod, has.attcollation, has.attgenerated)
    <> row(had.atttypid, had.atttypmod, had.attcollation, had.attgenerated)
    or had.attnotnull and not has.attnotnull and had.attidentity = ''
    or had.attidentity = '' and had.default_sql is distinct from has.default_sql
);
