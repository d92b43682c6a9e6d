-- Write modes: a partition may have several published loads, which add up; and what a load found in the table before it.

alter table rowledger.load
    add column write_mode text not null default 'replace' check (write_mode in ('replace', 'append', 'upsert')),
    add column content_digest text not null default '',
    add column base_load_id bigint,
    add column found_rows bigint check (found_rows >= 0),
    add column found_fingerprint jsonb,
    add column updated_rows bigint not null default 0 check (updated_rows >= 0),
    add column replaced_fingerprint jsonb;
comment on column rowledger.load.write_mode is 'How it was published.';
comment on column rowledger.load.content_digest is 'Of the source''s rows, however they were cut: what an append adds only once.';
comment on column rowledger.load.base_load_id is
    'The load whose found rows this one''s add to: what is in the table are those, and what each load with this base added.';
comment on column rowledger.load.found_rows is 'Rows that were there before the base load, and are nobody''s that is counted.';
comment on column rowledger.load.updated_rows is 'Of the rows written, those that took the place of one with the same key.';
comment on column rowledger.load.replaced_fingerprint is 'Of the rows whose place they took, as they were.';

drop index rowledger.load_published;
create unique index load_published on rowledger.load (target, partition_key)
    where state = 'published' and write_mode = 'replace';
-- A second load of the same rows cannot be published beside the first.
create unique index load_appended on rowledger.load (target, partition_key, content_digest)
    where state = 'published' and write_mode = 'append';

alter table rowledger.load drop constraint load_state_check;
alter table rowledger.load add constraint load_state_check
    check (state in ('loading', 'published', 'replaced', 'rejected', 'abandoned', 'repeated'));
