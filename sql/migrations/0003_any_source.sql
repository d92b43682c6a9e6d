-- Sources whose rows are not known before they are loaded, transforms, and dead letters that name their place in the source.

alter table rowledger.load add column sealed boolean not null default true;
comment on column rowledger.load.sealed is
    'Whether the manifest is complete: a source that is loaded as it comes has all its chunks recorded only at its end.';

alter table rowledger.chunk
    add column digest text not null default '',
    add column filtered_rows bigint not null default 0 check (filtered_rows >= 0),
    add column added_rows bigint not null default 0 check (added_rows >= 0),
    add column discarded_values bigint not null default 0 check (discarded_values >= 0);
comment on column rowledger.chunk.digest is 'Of the chunk''s content, where it was spooled: a rerun compares it.';
comment on column rowledger.chunk.discarded_values is 'Values of columns that the contract does not know, left out as the spec says.';

alter table rowledger.dead_letter
    add column part integer not null default 0 check (part >= 0),
    add column source text not null default '',
    add column source_row bigint,
    add column payload_of text not null default 'source' check (payload_of in ('source', 'line', 'transformed')),
    add column traceback text not null default '';
comment on column rowledger.dead_letter.part is 'Which of the rows that a transform made of this one, counted from 0.';
comment on column rowledger.dead_letter.source is 'The file, address or query that the row came from.';
comment on column rowledger.dead_letter.source_row is 'The row''s number in there, counted from 0.';
comment on column rowledger.dead_letter.payload_of is
    'What the payload holds: the row as the source has it, a line that is no row, or a row that a transform made.';

drop index rowledger.dead_letter_row;
create unique index dead_letter_row on rowledger.dead_letter (load_id, row_no, part);

alter table rowledger.dead_letter drop constraint dead_letter_stage_check;
alter table rowledger.dead_letter add constraint dead_letter_stage_check
    check (stage in ('source', 'transform', 'contract', 'copy', 'key', 'crash'));
