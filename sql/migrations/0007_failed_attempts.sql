-- Attempts that ended without publishing, with their reasons: those too that failed before there was a load to record.

create table rowledger.failed_attempt (
    attempt_id bigint generated always as identity primary key,
    table_name text not null,
    target text not null,
    partition_key text not null,
    load_id bigint references rowledger.load on delete set null,
    epoch integer check (epoch > 0),
    run_id text,
    kind text not null,
    reason text not null,
    failed_at timestamptz not null default clock_timestamp()
);

comment on table rowledger.failed_attempt is 'How a run''s attempt at a partition failed; it holds no row values.';
comment on column rowledger.failed_attempt.load_id is 'The load that the attempt had begun or taken over; null where it failed before that.';
comment on column rowledger.failed_attempt.epoch is 'Of the load then: a later run that takes the load over has another one.';
comment on column rowledger.failed_attempt.kind is 'The class of the error.';

create index failed_attempt_of_partition on rowledger.failed_attempt (target, partition_key, attempt_id);
