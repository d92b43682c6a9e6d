-- The asset under which Dagster loads a table, so that a replay outside Dagster is recorded under its key.

alter table rowledger.table_spec add column asset_key text[];

comment on column rowledger.table_spec.asset_key is
    'The key of the asset whose step has loaded the table last; null if no step of Dagster has since this column is there.';
