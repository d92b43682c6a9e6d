-- name: selected_dead_letters
-- Dead letters with what the last replay said of them; an argument that is null asks for all. The next two queries read `selected`,
-- which is this one.
-- Without $8 only those of published loads and of each partition's latest load, unless they are named by their ids ($7).
select letter.dead_letter_id, load.load_id, load.target, load.partition_key, load.state as load_state, letter.row_no, letter.part,
    letter.source, letter.source_row, letter.state, letter.revision, letter.replays, letter.worker_pid,
    letter.worker_host, letter.attempt, letter.payload_of, letter.recorded_at, letter.corrected_payload is not null as is_edited,
    octet_length(coalesce(letter.corrected_payload, letter.payload)::text) as payload_bytes,
    found.stage, found.reason, found.sqlstate, found.constraint_name, found.column_name
from rowledger.dead_letter as letter
join rowledger.load using (load_id)
left join lateral (
    select stage, reason, sqlstate, constraint_name, column_name
    from rowledger.letter_event as event
    where event.dead_letter_id = letter.dead_letter_id and event.stage is not null
    order by event.event_id desc
    limit 1
) as last on true
cross join lateral (
    select letter.stage, letter.reason, letter.sqlstate, letter.constraint_name, letter.column_name
    where last.stage is null
    union all
    select last.* where last.stage is not null
) as found
where load.table_name = $1
    and ($2::text[] is null or load.partition_key = any ($2))
    and ($3::text[] is null or found.stage = any ($3))
    and ($4::text[] is null or letter.state = any ($4))
    and ($5::text is null or found.constraint_name = $5)
    and ($6::text is null or found.column_name = $6)
    and ($7::bigint[] is null or letter.dead_letter_id = any ($7))
    and (
        $8 or $7 is not null or load.state = 'published' or load.load_id = (
            select max(latest.load_id)
            from rowledger.load as latest
            where latest.target = load.target and latest.partition_key = load.partition_key
        )
    )
    and ($9::double precision is null or letter.recorded_at < now() - make_interval(secs => $9));

-- name: find_dead_letters
-- The selected dead letters in source order, at most $10, and how many there are.
select *, count(*) over () as found_dead_letters
from selected
order by partition_key, load_id, row_no, part
limit $10;

-- name: dead_letter_reasons
-- The selected dead letters, a row a reason, the most frequent first. Reasons that name another row or a process differ from row to
-- row: one of them stands for all.
select stage, column_name, constraint_name, sqlstate, count(*) as dead_letters, count(distinct partition_key) as partitions,
    (array_agg(reason order by partition_key, load_id, row_no, part))[1] as reason,
    (array_agg(source order by partition_key, load_id, row_no, part))[1:5] as first_sources,
    (array_agg(partition_key order by partition_key, load_id, row_no, part))[1:5] as first_partitions,
    (array_agg(coalesce(source_row, row_no) order by partition_key, load_id, row_no, part))[1:5] as first_rows,
    (array_agg(dead_letter_id order by partition_key, load_id, row_no, part))[1:5] as first_ids
from selected
group by stage, column_name, constraint_name, sqlstate, case when stage in ('key', 'crash') then '' else reason end
order by dead_letters desc, stage, column_name, reason
limit $10;

-- name: dead_letter_payloads
-- The rows of these dead letters, as they were refused and as they were edited, and the tracebacks of the last refusal.
select letter.dead_letter_id, letter.payload::text, letter.corrected_payload::text, letter.payload_of,
    coalesce(
        (
            select event.traceback
            from rowledger.letter_event as event
            where event.dead_letter_id = letter.dead_letter_id and event.stage is not null
            order by event.event_id desc
            limit 1
        ),
        letter.traceback
    ) as traceback
from rowledger.dead_letter as letter
where letter.dead_letter_id = any ($1::bigint[]);

-- name: table_of_dead_letter
-- The table spec's name that a dead letter was refused under.
select load.table_name from rowledger.dead_letter join rowledger.load using (load_id) where dead_letter_id = $1;

-- name: letter_events
-- What became of one dead letter, oldest first.
select state, happened_at, actor, note, run_id, replay, written_rows, stage, reason, sqlstate, constraint_name, column_name
from rowledger.letter_event
where dead_letter_id = $1
order by event_id;

-- name: correct_dead_letters
-- Edited payloads, or null for what is declared ready as it is; only of letters that are as the caller has seen them.
update rowledger.dead_letter as letter
set state = 'corrected', revision = letter.revision + 1,
    corrected_payload = coalesce(change.payload::json, letter.corrected_payload)
from unnest($1::bigint[], $2::integer[], $3::text[]) as change (dead_letter_id, revision, payload)
where letter.dead_letter_id = change.dead_letter_id and letter.revision = change.revision
    and letter.state in ('open', 'corrected', 'discarded')
    and exists (select from rowledger.load where load.load_id = letter.load_id and load.state = 'published')
returning letter.dead_letter_id;

-- name: reopen_dead_letters
-- Take back that letters were corrected or discarded; an edited payload stays.
update rowledger.dead_letter as letter set state = 'open', revision = letter.revision + 1
from unnest($1::bigint[], $2::integer[]) as change (dead_letter_id, revision)
where letter.dead_letter_id = change.dead_letter_id and letter.revision = change.revision
    and letter.state in ('corrected', 'discarded')
    and exists (select from rowledger.load where load.load_id = letter.load_id and load.state = 'published')
returning letter.dead_letter_id;

-- name: discard_dead_letters
-- Somebody has decided that these rows stay out of the table.
update rowledger.dead_letter as letter set state = 'discarded', revision = letter.revision + 1
from unnest($1::bigint[], $2::integer[]) as change (dead_letter_id, revision)
where letter.dead_letter_id = change.dead_letter_id and letter.revision = change.revision
    and letter.state in ('open', 'corrected')
    and exists (select from rowledger.load where load.load_id = letter.load_id and load.state = 'published')
returning letter.dead_letter_id;

-- name: insert_letter_events
-- Who has brought letters to a state, and why.
insert into rowledger.letter_event (dead_letter_id, state, actor, note, run_id)
select unnest($1::bigint[]), $2, $3, $4, $5;

-- name: purge_dead_letters
-- Delete what no balance needs: replayed letters, and those of loads that are over and not in the table.
delete from rowledger.dead_letter as letter
using rowledger.load
where letter.dead_letter_id = any ($1::bigint[]) and load.load_id = letter.load_id
    and (letter.state = 'replayed' or load.state in ('replaced', 'rejected', 'abandoned'))
returning letter.dead_letter_id;

-- name: replay_dead_letters
-- Letters that a replay ($2) is to try, in source order; those on which it has decided are left out.
select letter.dead_letter_id, letter.revision, letter.chunk_no, letter.row_no, letter.stage,
    coalesce(letter.corrected_payload, letter.payload)::text as payload,
    case when letter.corrected_payload is not null and letter.payload_of = 'line' then 'source' else letter.payload_of end
        as payload_of,
    letter.corrected_payload is not null as is_edited
from rowledger.dead_letter as letter
where letter.dead_letter_id = any ($1::bigint[]) and letter.state in ('open', 'corrected')
    and not exists (
        select from rowledger.letter_event as event
        where event.dead_letter_id = letter.dead_letter_id and event.replay = $2
    )
order by letter.row_no, letter.part;

-- name: row_types_of_chunks
-- How to read the dead letters of these chunks; one without types of its own has those of another chunk of the load.
select asked.chunk_no, (
    select chunk.row_types
    from rowledger.chunk
    where chunk.load_id = $1 and chunk.row_types is not null
    order by chunk.chunk_no = asked.chunk_no desc, chunk.chunk_no
    limit 1
) as row_types
from unnest($2::integer[]) as asked (chunk_no);

-- name: lock_published_load
-- The load's row, so that nobody replaces it before a replay has committed; no row means that it is not in the table any more.
select write_mode, updated_rows, replaced_fingerprint::text as replaced_fingerprint,
    -- A load of another write mode has found this one's rows in the table, and stands for them now.
    exists (
        select from rowledger.load as base
        where base.target = load.target and base.partition_key = load.partition_key and base.state = 'published'
            and base.base_load_id = base.load_id and base.load_id > load.load_id
            and base.load_id is distinct from load.base_load_id
    ) as is_counted_by_another
from rowledger.load
where load_id = $1 and state = 'published'
for update of load;

-- name: record_updated_rows
-- Rows that a replay has put in the place of others with their keys.
update rowledger.load set updated_rows = updated_rows + $2, replaced_fingerprint = $3::jsonb
where load_id = $1 and state = 'published';

-- name: columns_written
-- The columns that the published loads of a target have written.
select distinct jsonb_object_keys(chunk.fingerprint) as name
from rowledger.chunk
join rowledger.load using (load_id)
where load.target = $1 and load.state = 'published' and jsonb_typeof(chunk.fingerprint) = 'object';

-- name: lock_dead_letters
-- Letters that are still as they were read, held until the replay has committed.
select letter.dead_letter_id
from rowledger.dead_letter as letter
join unnest($1::bigint[], $2::integer[]) as seen (dead_letter_id, revision) using (dead_letter_id)
where letter.revision = seen.revision and letter.state in ('open', 'corrected')
order by letter.dead_letter_id
for update of letter;

-- name: settle_dead_letters
-- What a replay has decided: replayed, or open again.
update rowledger.dead_letter as letter
set state = decided.state, revision = letter.revision + 1, replays = letter.replays + 1
from unnest($1::bigint[], $2::text[]) as decided (dead_letter_id, state)
where letter.dead_letter_id = decided.dead_letter_id and letter.state in ('open', 'corrected')
returning letter.dead_letter_id;

-- name: insert_replay_events
-- The record of a replay, in the transaction that writes its rows.
insert into rowledger.letter_event (
    dead_letter_id, state, actor, note, run_id, replay, written_rows, stage, reason, sqlstate, constraint_name, column_name,
    traceback
)
select decided.dead_letter_id, decided.state, $1, $2, $3, $4, decided.written_rows, decided.stage, decided.reason,
    decided.sqlstate, decided.constraint_name, decided.column_name, decided.traceback
from unnest(
    $5::bigint[], $6::text[], $7::integer[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[]
) as decided (
    dead_letter_id, state, written_rows, stage, reason, sqlstate, constraint_name, column_name, traceback
);

-- name: move_from_dead_letters
-- Add a replay's change ($3 to $6) to a chunk's counts, which takes from its dead-lettered rows; no row when they do not balance.
update rowledger.chunk
set written_rows = written_rows + $3::bigint, dead_lettered_rows = dead_lettered_rows + $4::bigint,
    filtered_rows = filtered_rows + $5::bigint, added_rows = added_rows + $6::bigint,
    fingerprint = coalesce($7::jsonb, fingerprint)
where load_id = $1 and chunk_no = $2 and state = 'committed' and dead_lettered_rows + $4::bigint >= 0
    and enqueued_rows + added_rows = written_rows + dead_lettered_rows + filtered_rows
    and $6::bigint = $3::bigint + $4::bigint + $5::bigint
returning chunk_no;

-- name: replay_outcomes
-- What a replay ($2) has decided on letters, and where those stand on which it has not.
select letter.dead_letter_id, load.partition_key, letter.row_no, letter.state, load.state as load_state, exists (
        select from rowledger.load as base
        where base.target = load.target and base.partition_key = load.partition_key and base.state = 'published'
            and base.base_load_id = base.load_id and base.load_id > load.load_id
            and base.load_id is distinct from load.base_load_id
    ) as is_counted_by_another,
    event.event_id is not null as is_decided, event.state as decided_state, event.written_rows,
    event.stage, event.reason, event.constraint_name
from unnest($1::bigint[]) with ordinality as asked (dead_letter_id, position)
join rowledger.dead_letter as letter using (dead_letter_id)
join rowledger.load using (load_id)
left join rowledger.letter_event as event on event.dead_letter_id = letter.dead_letter_id and event.replay = $2
order by asked.position;

-- name: waiting_corrected_dead_letters
-- Letters of a table that were corrected and wait for a replay, and the newest step that made one so.
select count(distinct letter.dead_letter_id) as letters, max(event.event_id) as newest
from rowledger.dead_letter as letter
join rowledger.load using (load_id)
join rowledger.letter_event as event using (dead_letter_id)
where load.table_name = $1 and load.state = 'published' and letter.state = 'corrected' and event.state = 'corrected';

-- name: published_counts
-- What the published loads of a table account for, a row a partition.
select
    load.partition_key,
    sum(chunk.enqueued_rows)::bigint as enqueued_rows,
    sum(chunk.written_rows)::bigint as written_rows,
    sum(chunk.dead_lettered_rows)::bigint as dead_lettered_rows,
    sum(chunk.filtered_rows)::bigint as filtered_rows,
    sum(chunk.added_rows)::bigint as added_rows
from rowledger.load
join rowledger.chunk using (load_id)
where load.table_name = $1 and load.state = 'published' and load.partition_key = any ($2)
group by load.partition_key;

-- name: recorded_partitions
-- The bounds of partitions of a table, as the newest load of each that has any recorded them.
select distinct on (load.partition_key) load.partition_key, load.partition
from rowledger.load
where load.table_name = $1 and load.partition_key = any ($2) and load.partition is not null
order by load.partition_key, load.load_id desc;
