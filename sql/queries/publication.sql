-- name: published_in_scope
-- The published loads that may add up to what is in the table: of one partition, or of all where $2 is null.
select load_id, partition_key, write_mode, base_load_id, found_rows, found_fingerprint::text as found_fingerprint,
    updated_rows, replaced_fingerprint::text as replaced_fingerprint
from rowledger.load
where target = $1 and state = 'published' and ($2::text is null or partition_key = $2)
order by load_id;

-- name: published_content
-- The published load of a partition that has brought these very rows.
select load_id from rowledger.load
where target = $1 and partition_key = $2 and content_digest = $3 and state = 'published'
order by load_id
limit 1;

-- name: record_publication
-- How a load is published, and what it changes, in the transaction that publishes it.
update rowledger.load set write_mode = $2, content_digest = $3, base_load_id = $4, found_rows = $5,
    found_fingerprint = $6::jsonb, updated_rows = $7, replaced_fingerprint = $8::jsonb
where load_id = $1;

-- name: forget_all_dead_letters
-- Of a load that has added nothing: those of the load that it repeats stand for them.
delete from rowledger.dead_letter where load_id = $1;
