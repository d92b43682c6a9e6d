-- name: prunable_loads
-- Ended loads that are older than $1 seconds and that no answer needs: a later load of the same table and partition has ended,
-- which also has bounds if this one has. Nothing that is published adds to it, and no failed attempt is of it but those ($3) that go.
-- An entry that was edited by hand stays, because a verification speaks of it; is_needed says whether unresolved dead letters do.
select entry.load_id, entry.table_name, entry.state, is_needed.by_dead_letters,
    (select count(*) from rowledger.chunk where chunk.load_id = entry.load_id) as chunks,
    (
        select count(*) from rowledger.dead_letter as letter
        where letter.load_id = entry.load_id and letter.state in ('replayed', 'discarded')
    ) as dead_letters,
    (select count(*) from rowledger.incident where incident.load_id = entry.load_id) as incidents
from rowledger.load as entry
cross join lateral (
    select exists (
        select from rowledger.dead_letter as letter
        where letter.load_id = entry.load_id and letter.state in ('open', 'corrected')
    ) as by_dead_letters
) as is_needed
where entry.state in ('replaced', 'rejected', 'abandoned', 'repeated')
    and entry.ended_at < now() - make_interval(secs => $1)
    and ($2::text is null or entry.table_name = $2)
    and entry.entry_digest = rowledger.digest_of_entry(entry)
    and exists (
        select from rowledger.load as later
        where later.target = entry.target and later.partition_key = entry.partition_key
            and later.table_name = entry.table_name and later.load_id > entry.load_id
            -- A loading load may still end as repeated, and then this one is told again.
            and later.state not in ('loading', 'repeated')
            and (entry.partition is null or later.partition is not null)
    )
    -- That something was once published into a target keeps its table, even an empty one, from being dropped.
    and (
        entry.state not in ('replaced', 'repeated')
        or exists (
            select from rowledger.load as later
            where later.target = entry.target and later.load_id > entry.load_id
                and later.state in ('published', 'replaced', 'repeated')
        )
    )
    and not exists (
        select from rowledger.load as added
        where added.target = entry.target and added.state = 'published' and added.base_load_id = entry.load_id
    )
    and not exists (select from rowledger.lease where lease.load_id = entry.load_id)
    and not exists (
        select from rowledger.failed_attempt as failed
        where failed.load_id = entry.load_id
            and not exists (select from unnest($3::bigint[]) as going (attempt_id) where going.attempt_id = failed.attempt_id)
    )
order by entry.load_id;

-- name: prunable_attempts
-- Failed attempts that are older than $1 seconds and that status does not tell, because a later failure of the same table and
-- partition is told instead, or its latest load, which has ended since. An earlier load counts for nothing, whenever its end is
-- dated: a later load, or a hand that forgets it, ends it anew. At most $3.
select failed.attempt_id
from rowledger.failed_attempt as failed
where failed.failed_at < now() - make_interval(secs => $1) and ($2::text is null or failed.table_name = $2)
    and (
        exists (
            select from rowledger.failed_attempt as later
            where later.target = failed.target and later.partition_key = failed.partition_key
                and later.table_name = failed.table_name and later.attempt_id > failed.attempt_id
        )
        or failed.failed_at < (
            select latest.ended_at
            from rowledger.load as latest
            where latest.target = failed.target and latest.partition_key = failed.partition_key
                and latest.table_name = failed.table_name and latest.state <> 'repeated'
            order by latest.load_id desc
            limit 1
        )
    )
order by failed.attempt_id
limit $3;

-- name: prunable_incidents
-- Incidents of whole runs that are older than $1 seconds, and of whose run no load has an entry but those ($2) that go; at most $3.
select incident.incident_id
from rowledger.incident
where incident.load_id is null and incident.detected_at < now() - make_interval(secs => $1)
    and not exists (
        select from rowledger.load where load.run_id = incident.run_id and load.load_id <> all ($2::bigint[])
    )
order by incident.incident_id
limit $3;

-- name: prune_dead_letters
-- A page of the resolved dead letters of ended loads, with their history.
delete from rowledger.dead_letter where dead_letter_id in (
    select letter.dead_letter_id
    from rowledger.dead_letter as letter
    join rowledger.load using (load_id)
    where letter.load_id = any ($1::bigint[]) and letter.state in ('replayed', 'discarded')
        and load.state in ('replaced', 'rejected', 'abandoned', 'repeated')
    limit $2
);

-- name: prune_chunks
-- A page of the chunks of ended loads that have no dead letters any more.
delete from rowledger.chunk where ctid in (
    select chunk.ctid
    from rowledger.chunk
    join rowledger.load using (load_id)
    where chunk.load_id = any ($1::bigint[]) and load.state in ('replaced', 'rejected', 'abandoned', 'repeated')
        and not exists (select from rowledger.dead_letter as letter where letter.load_id = chunk.load_id)
    limit $2
);

-- name: prune_incidents
-- What guards noticed during ended loads, or in runs; by the incidents' numbers ($2), or by their loads' ($1).
delete from rowledger.incident where incident_id in (
    select incident_id from rowledger.incident
    where load_id = any ($1::bigint[]) or incident_id = any ($2::bigint[])
    limit $3
);

-- name: prune_attempts
-- Failed attempts by their numbers.
delete from rowledger.failed_attempt where attempt_id = any ($1::bigint[]);

-- name: prune_loads
-- Entries of ended loads that have no chunks any more, and so no dead letters, each of which belongs to a chunk.
delete from rowledger.load
where load.load_id = any ($1::bigint[]) and load.state in ('replaced', 'rejected', 'abandoned', 'repeated')
    and not exists (select from rowledger.chunk where chunk.load_id = load.load_id);
