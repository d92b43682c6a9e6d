-- Each table's spec as its latest load had it, so that what reads the ledger needs no file that declares tables.

create table rowledger.table_spec (
    table_name text primary key,
    target text not null,
    spec json not null,
    rowledger_version text not null,
    recorded_at timestamptz not null default clock_timestamp()
);

comment on table rowledger.table_spec is 'The table spec of each table''s latest load; it holds no secrets.';
comment on column rowledger.table_spec.spec is 'As TableSpec.as_json writes it: classes and functions are module:name.';
comment on column rowledger.table_spec.rowledger_version is 'The version of Rowledger that wrote it.';

create index table_spec_of_target on rowledger.table_spec (target, recorded_at);
