-- The bounds of each load's partition, so that its rows can be found again without the calendar or the list that its key is from.

alter table rowledger.load add column partition jsonb;
comment on column rowledger.load.partition is
    'The conditions that tell the partition''s rows, its dimensions, whether the rows can be told at all; null in a load made before.';

-- As before for an entry without bounds, so that those that were edited by hand still show; the bounds of the others count too.
create or replace function rowledger.digest_of_entry(entry rowledger.load) returns text language sql stable as $$
    select encode(sha256(convert_to((jsonb_build_array(
        entry.load_id, entry.table_name, entry.target, entry.partition_key, entry.epoch, entry.state, entry.manifest_digest,
        entry.enqueued_rows, entry.chunks, entry.contract_digest, entry.sealed, entry.write_mode, entry.content_digest,
        entry.base_load_id, entry.found_rows, entry.found_fingerprint, entry.updated_rows, entry.replaced_fingerprint,
        entry.chunks_digest
    ) || case when entry.partition is null then '[]' else jsonb_build_array(entry.partition) end)::text, 'UTF8')), 'hex')
$$;
