-- name: claim_connections
-- Claim connections for the run $1, which wants $2 and needs $3 at least; the server keeps $4 free. It has claimed $5, and claims $6 to $7 now.
--
-- The claim is in the name of this session, and ends with it: `rowledger share CLAIMED/WANTED of RUN`. A run that waits claims 0.
-- Each limit (the server's, the database's, the role's) is divided on its own: no run gets more than it wants, and what is left of
-- it is the others'. So runs sorted by what they want get the level up to which all can be filled; a remainder goes to the last of them.
with turn as materialized (
    -- One run after another looks and claims. The lock ends with this statement, so a client that is frozen cannot hold it; and it
    -- is taken before the sessions are read, since the function that reads them needs its argument.
    select case when pg_advisory_xact_lock(hashtext('rowledger connections')) is not null then null::integer end as every_pid
),
seen as materialized (
    select
        activity.datid, activity.usesysid,
        case when activity.pid = pg_backend_pid() then $1 else named.parts[3] end as holder,
        named.parts[1]::integer as claimed, named.parts[2]::integer as wanted,
        activity.application_name like 'rowledger setup%' and activity.pid <> pg_backend_pid() as begins
    from turn
    cross join lateral pg_stat_get_activity(turn.every_pid) as activity
    cross join lateral (
        select regexp_match(
            activity.application_name, '^rowledger [a-z]+ (?:(\d{1,6})/(\d{1,6}) )?(?:\S+ )?of ([0-9a-f]{32})'
        ) as parts
    ) as named
    -- Parallel workers have their leader's name and take no connection. Of other roles' sessions the type is hidden; autovacuum has no
    -- role.
    where activity.datid is not null and activity.usesysid is not null
        and coalesce(activity.backend_type, 'client backend') = 'client backend'
),
bound as (
    select
        'server' as name, $4::integer as spare, null::oid as datid, null::oid as usesysid,
        current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
            - coalesce(current_setting('reserved_connections', true)::integer, 0) as places
    union all
    select 'database', 0, oid, null, datconnlimit from pg_database where datname = current_database() and datconnlimit >= 0
    union all
    select 'role', 0, null, oid, rolconnlimit from pg_roles where rolname = session_user and rolconnlimit >= 0
),
run as (
    select
        bound.name, seen.holder, count(*)::integer as sessions, max(seen.claimed) as claimed,
        case when seen.holder = $1 then $2::integer else coalesce(max(seen.wanted), count(*)::integer) end as wanted
    from bound
    join seen on (bound.datid is null or bound.datid = seen.datid) and (bound.usesysid is null or bound.usesysid = seen.usesysid)
    where seen.holder is not null
    group by bound.name, seen.holder
),
held as (
    -- A run holds what it has claimed or has open, whichever is more. One that waits has its session from what is spare, and so
    -- has one that has not claimed yet.
    select
        run.*, claimed is not distinct from 0 and holder <> $1 as is_waiting,
        case when claimed = 0 then 0 else greatest(claimed, sessions) end as holds
    from run
),
measured as (
    select
        bound.name, bound.spare,
        bound.places - bound.spare
            - (
                select count(*) from seen
                where seen.holder is null and not seen.begins and (bound.datid is null or bound.datid = seen.datid)
                    and (bound.usesysid is null or bound.usesysid = seen.usesysid)
            )::integer as places,
        coalesce((select sum(sessions) from held where held.name = bound.name and is_waiting), 0)::integer as waiting,
        (
            select count(*) from seen
            where seen.begins and (bound.datid is null or bound.datid = seen.datid)
                and (bound.usesysid is null or bound.usesysid = seen.usesysid)
        )::integer as beginning
    from bound
),
room as (
    -- Where nothing is spare, one place is left for a run that waits, but for a limit that only just lets one run work.
    select
        name, greatest(spare, 1) - waiting > 0 as may_wait,
        case when spare > 0 then places else greatest(least(places, $3::integer), places - 1) end
            - greatest(waiting + beginning - greatest(spare, 1), 0) as places
    from measured
),
ranked as (
    select
        held.*, room.places, row_number() over sorted as place, count(*) over (partition by name) as runs,
        room.places - coalesce(sum(wanted) over (sorted rows between unbounded preceding and 1 preceding), 0) as left_over
    from held
    join room using (name)
    window sorted as (partition by name order by wanted, holder)
),
level as (
    select distinct on (name)
        name, left_over / (runs - place + 1) as filled, mod(left_over, runs - place + 1) as remainder
    from ranked
    order by name, left_over::double precision / (runs - place + 1) desc
),
share as (
    select
        ranked.*,
        least(
            wanted, greatest($3::integer, level.filled + case when place > runs - level.remainder then 1 else 0 end)
        )::integer as fair
    from ranked
    join level using (name)
),
own as (
    select
        share.name, share.fair, share.places::integer as places, share.runs::integer as runs, room.may_wait,
        (share.places - others.hold)::integer as free, others.hold_more
    from share
    join room using (name)
    cross join lateral (
        select coalesce(sum(holds), 0) as hold, coalesce(bool_or(holds > fair), false) as hold_more
        from share as other
        where other.name = share.name and other.holder <> $1
    ) as others
    where share.holder = $1
),
possible as (
    select
        least(min(fair), greatest($5::integer, min(free))) as connections,
        min(free) as free, bool_and(may_wait) as may_wait, bool_or(hold_more) as others_hold_more
    from own
),
decided as (
    select
        possible.*,
        case
            when $5 > 0 then greatest($3, least(greatest(connections, $6::integer), $7::integer))
            when connections >= $3 then connections
            else 0
        end as claimed
    from possible
)
select
    decided.claimed, decided.connections as possible, decided.free, decided.may_wait, decided.others_hold_more,
    tightest.name as bound, tightest.places, tightest.runs,
    set_config('application_name', format('rowledger share %s/%s of %s', decided.claimed, $2, $1), false) as named
from decided
cross join lateral (select name, places, runs from own order by fair, name desc limit 1) as tightest;
