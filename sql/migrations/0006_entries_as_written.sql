-- What each migration's text was, which Rowledger wrote an entry, and a digest by which an edit of an ended load shows.

alter table rowledger.schema_version
    add column checksum text,
    add column rowledger_version text;
comment on column rowledger.schema_version.checksum is 'SHA-256 of the migration''s text: one that was edited since is noticed.';
comment on column rowledger.schema_version.rowledger_version is 'The Rowledger that applied it, where that was recorded.';

update rowledger.schema_version set checksum = known.checksum
from (
    values
        (1, 'ledger', '006ec7af1338a36f0b0ea561a5fa91c0e247088425eb75e9ed0273d65e12fecb'),
        (2, 'guards', '5e2fbaadcd6f677f5fa27801325b32e076344e834a44e976201eadb5dee16197'),
        (3, 'any_source', 'deca71cc9f78cbc5ff37aa47f955f44f64501275789c6148a3bea71403977e04'),
        (4, 'write_modes', '2cc4c767a75af43601bbb1599b4322862b1f1586f6a7896333f6809efc18df2d'),
        (5, 'dead_letters', '88a2a85c66739cd6bb7893e4120c7b689b4625e3269fe0e81e2c045ca7ce5905')
) as known (version, name, checksum)
where schema_version.version = known.version and schema_version.name = known.name;

alter table rowledger.load
    add column rowledger_version text not null default '',
    add column entry_digest text,
    add column chunks_digest text;
comment on column rowledger.load.rowledger_version is 'The Rowledger that began it or took it over last.';
comment on column rowledger.load.entry_digest is
    'Of this row, once the load has ended: whatever changes the row by the rules computes it anew, an edit by hand does not.';
comment on column rowledger.load.chunks_digest is 'Of the load''s chunks, in the same way.';

-- All but times and figures of the run: what a later load, a replay or a verification goes by.
create function rowledger.digest_of_entry(entry rowledger.load) returns text language sql stable as $$
    select encode(sha256(convert_to(jsonb_build_array(
        entry.load_id, entry.table_name, entry.target, entry.partition_key, entry.epoch, entry.state, entry.manifest_digest,
        entry.enqueued_rows, entry.chunks, entry.contract_digest, entry.sealed, entry.write_mode, entry.content_digest,
        entry.base_load_id, entry.found_rows, entry.found_fingerprint, entry.updated_rows, entry.replaced_fingerprint,
        entry.chunks_digest
    )::text, 'UTF8')), 'hex')
$$;
comment on function rowledger.digest_of_entry is 'What load.entry_digest has to be.';

create function rowledger.digest_of_chunks(of_load bigint) returns text language sql stable as $$
    select encode(sha256(convert_to(coalesce(jsonb_agg(jsonb_build_array(
        chunk.chunk_no, chunk.state, chunk.first_row, chunk.enqueued_rows, chunk.digest, chunk.written_rows,
        chunk.dead_lettered_rows, chunk.filtered_rows, chunk.added_rows, chunk.discarded_values, chunk.fingerprint
    ) order by chunk.chunk_no), '[]')::text, 'UTF8')), 'hex')
    from rowledger.chunk
    where chunk.load_id = of_load
$$;
comment on function rowledger.digest_of_chunks is 'What load.chunks_digest has to be.';

update rowledger.load set chunks_digest = rowledger.digest_of_chunks(load_id) where state <> 'loading';
update rowledger.load as entry set entry_digest = rowledger.digest_of_entry(entry) where state <> 'loading';
