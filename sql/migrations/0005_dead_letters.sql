-- The life of a dead letter: mended, replayed or discarded, and each step with who took it, when and why.

alter table rowledger.dead_letter
    add column state text not null default 'open',
    add column revision integer not null default 0 check (revision >= 0),
    add column replays integer not null default 0 check (replays >= 0),
    add column mended_payload json;
alter table rowledger.dead_letter add constraint dead_letter_state_check
    check (state in ('open', 'mended', 'replayed', 'discarded'));
comment on column rowledger.dead_letter.revision is 'Grows with each change: whoever changes a letter says which one he has seen.';
comment on column rowledger.dead_letter.replays is 'How many replays have tried it.';
comment on column rowledger.dead_letter.mended_payload is 'The row as somebody has edited it; payload stays what was refused.';

alter table rowledger.chunk add column row_types bytea;
comment on column rowledger.chunk.row_types is
    'Arrow types of the source''s columns, where the chunk has dead letters: their JSON alone cannot tell a date from a text.';

create table rowledger.letter_event (
    event_id bigint generated always as identity primary key,
    dead_letter_id bigint not null references rowledger.dead_letter on delete cascade,
    state text not null check (state in ('open', 'mended', 'replayed', 'discarded')),
    happened_at timestamptz not null default clock_timestamp(),
    actor text not null,
    note text not null default '',
    run_id text,
    replay uuid,
    written_rows integer not null default 0 check (written_rows >= 0),
    stage text,
    reason text,
    sqlstate text,
    constraint_name text,
    column_name text,
    traceback text not null default ''
);

comment on table rowledger.letter_event is
    'What became of a dead letter after its load: the state it came to, by whom, and why a replay refused it again.';
comment on column rowledger.letter_event.replay is 'The replay that tried it: one value a command or a run.';
comment on column rowledger.letter_event.written_rows is 'Rows that a replay wrote for it: none where a transform filters it.';

create index letter_event_of_letter on rowledger.letter_event (dead_letter_id, event_id);
-- A replay decides on a letter once: a second decision would write its row twice.
create unique index letter_event_of_replay on rowledger.letter_event (replay, dead_letter_id) where replay is not null;
