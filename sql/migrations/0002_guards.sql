-- What the guards learned to tell: rows that kill every worker, and loads begun under another contract.

alter table rowledger.dead_letter drop constraint dead_letter_stage_check;
alter table rowledger.dead_letter add constraint dead_letter_stage_check
    check (stage in ('contract', 'copy', 'key', 'crash'));

alter table rowledger.load add column contract_digest text not null default '';
comment on column rowledger.load.contract_digest is
    'Of the row model, the key and the target''s columns: what was staged under others is not resumed.';

-- Whether a holder lives is seen by its renewals, over a time that the observer measures: a clock may be set.
alter table rowledger.lease add column renewals bigint not null default 0;
alter table rowledger.lease add column lease_s double precision not null default 10;
alter table rowledger.lease drop column expires_at;
comment on column rowledger.lease.lease_s is 'Seconds without a renewal after which another run may take over.';

comment on table rowledger.incident is
    'What a guard noticed, mostly the death of a worker; exit_code is minus the signal number where a signal ended it.';
