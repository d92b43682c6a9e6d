-- The ledger: what was planned, what committed, what was refused, and which workers died. It is the only truth.

create table rowledger.load (
    load_id bigint generated always as identity primary key,
    table_name text not null,
    target text not null,
    partition_key text not null,
    epoch integer not null default 1 check (epoch > 0),
    state text not null default 'loading'
        check (state in ('loading', 'published', 'replaced', 'rejected', 'abandoned')),
    manifest_digest text not null,
    enqueued_rows bigint not null check (enqueued_rows >= 0),
    chunks integer not null check (chunks >= 0),
    run_id text,
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    verdict text
);

comment on table rowledger.load is 'One attempt to bring one partition into its table; it can be resumed while it is loading.';
comment on column rowledger.load.epoch is 'Fencing number: each takeover raises it, each chunk transaction checks it.';

create unique index load_loading on rowledger.load (target, partition_key) where state = 'loading';
create unique index load_published on rowledger.load (target, partition_key) where state = 'published';
create index load_of_partition on rowledger.load (target, partition_key, load_id);

create table rowledger.lease (
    load_id bigint primary key references rowledger.load on delete cascade,
    holder uuid not null,
    holder_pid integer not null,
    holder_host text not null,
    backend_pid integer not null,
    backend_start timestamptz not null,
    expires_at timestamptz not null
);

comment on table rowledger.lease is 'Who is working on a load right now. A courtesy between runs: what keeps rows right is the epoch.';

create table rowledger.chunk (
    load_id bigint not null references rowledger.load on delete cascade,
    chunk_no integer not null check (chunk_no >= 0),
    state text not null default 'pending' check (state in ('pending', 'committed')),
    first_row bigint not null check (first_row >= 0),
    enqueued_rows bigint not null check (enqueued_rows >= 0),
    descriptor jsonb not null,
    written_rows bigint not null default 0,
    dead_lettered_rows bigint not null default 0,
    fingerprint jsonb,
    attempt integer,
    worker_pid integer,
    committed_at timestamptz,
    primary key (load_id, chunk_no)
);

comment on table rowledger.chunk is 'The manifest, and what became of each of its chunks.';

create table rowledger.dead_letter (
    dead_letter_id bigint generated always as identity primary key,
    load_id bigint not null references rowledger.load on delete cascade,
    chunk_no integer not null,
    row_no bigint not null,
    stage text not null check (stage in ('contract', 'copy', 'key')),
    reason text not null,
    sqlstate text,
    constraint_name text,
    column_name text,
    attempt integer not null,
    worker_pid integer not null,
    payload json not null,
    recorded_at timestamptz not null default clock_timestamp(),
    foreign key (load_id, chunk_no) references rowledger.chunk on delete cascade
);

comment on table rowledger.dead_letter is 'Rows that could not be written, each with its reason and its exact values.';
comment on column rowledger.dead_letter.payload is 'json, not jsonb: it keeps NUL bytes, digits and key order as they were.';

-- A row is refused once: a second dead letter for it would balance a lost row.
create unique index dead_letter_row on rowledger.dead_letter (load_id, row_no);

create table rowledger.incident (
    incident_id bigint generated always as identity primary key,
    load_id bigint references rowledger.load on delete cascade,
    chunk_no integer,
    attempt integer not null,
    kind text not null,
    pid integer not null,
    host text not null,
    exit_code integer,
    summary text not null,
    stderr_tail text not null default '',
    run_id text,
    detected_at timestamptz not null default clock_timestamp()
);

comment on table rowledger.incident is 'The death or forced end of a worker; exit_code is minus the signal number where a signal ended it.';

create index incident_of_load on rowledger.incident (load_id);
