-- A pid means nothing without its host: the host of the worker that wrote a chunk, or refused a row. Entries of before have none.

alter table rowledger.chunk add column worker_host text;
alter table rowledger.dead_letter add column worker_host text;

comment on column rowledger.chunk.worker_host is
    'The host of worker_pid. As the pid, it is no part of load.chunks_digest: who wrote a chunk changes nothing of its rows.';
comment on column rowledger.dead_letter.worker_host is 'The host of worker_pid.';
