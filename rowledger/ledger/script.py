"""The ledger as one SQL script, for an administrator who runs it in psql where Rowledger's role may not create or alter it."""

import re
from collections.abc import Sequence

from rowledger.ledger.migrations import MIGRATION_LOCK
from rowledger.postgres import LEDGER_SCHEMA, Migration, migrations, quote_identifier, quoted
from rowledger.version import version

__all__ = ["grant_statements", "ledger_script"]

_TABLE = re.compile(r"^create table rowledger\.([a-z_]+) ", re.MULTILINE)

_HEAD = """\
-- The ledger of Rowledger {version}: makes it, or upgrades it to version {newest}. It may be run again at any time.
-- For psql, as the role that owns the ledger or is to own it; another role's is chosen by SET ROLE before.
begin;
set local lock_timeout = '5s';
select pg_advisory_xact_lock({lock});
do $rowledger$
begin
    if not exists (select from pg_namespace where nspname = 'rowledger') then
        create schema rowledger;
    end if;
end
$rowledger$;
create table if not exists rowledger.schema_version (
    version integer primary key, name text not null, applied_at timestamptz not null default now()
);
do $rowledger$
begin
    if exists (select from rowledger.schema_version where version > {newest}) then
        raise exception 'the ledger is newer than this script: use the one of the Rowledger that upgraded it';
    end if;
    if (select count(*) from rowledger.schema_version) between 1 and {newest} - 1 then
        lock table rowledger.load, rowledger.chunk, rowledger.lease in exclusive mode;
        if exists (
            select from pg_stat_activity
            where datname = current_database() and application_name ~ '^rowledger [a-z]+ ([^ ]+ )?of [0-9a-f]{{32}}'
        ) then
            raise exception 'a run is at work on the ledger, which has to be upgraded: run this again when it has ended';
        end if;
    end if;
end
$rowledger$;
"""

_STEP = """\
do $rowledger$
begin
    if not exists (select from rowledger.schema_version where version = {number}) then
        execute $migration_{number}$
{sql}
$migration_{number}$;
        insert into rowledger.schema_version (version, name) values ({number}, '{name}');
    end if;
end
$rowledger$;
"""

_RECORD = """\
update rowledger.schema_version set checksum = '{checksum}', rowledger_version = '{version}'
where version = {number} and checksum is null;
"""


def ledger_script(writers: Sequence[str] = (), readers: Sequence[str] = ()) -> str:
    """SQL that creates or upgrades the ledger, and grants the privileges that the roles need to load with it or to read it."""
    steps = migrations()
    parts = [_HEAD.format(version=version(), newest=steps[-1].version, lock=MIGRATION_LOCK)]
    parts += [_STEP.format(number=step.version, name=step.name, sql=_checked(step)) for step in steps]
    parts += [_RECORD.format(number=step.version, checksum=step.checksum, version=version()) for step in steps]
    parts += [f"{statement};\n" for statement in grant_statements(writers, readers)]
    return "".join((*parts, "commit;\n"))


def grant_statements(writers: Sequence[str], readers: Sequence[str]) -> list[str]:
    """Statements that let `writers` load with the ledger and `readers` read it. The ledger's owner must run them."""
    schema = quote_identifier(LEDGER_SCHEMA)
    names = dict.fromkeys(name for step in migrations() for name in _TABLE.findall(step.sql))
    tables = ", ".join(quoted(LEDGER_SCHEMA, name) for name in names)
    versions = quoted(LEDGER_SCHEMA, "schema_version")
    functions = f"{schema}.digest_of_entry({quoted(LEDGER_SCHEMA, 'load')}), {schema}.digest_of_chunks(bigint)"
    statements = []
    for role in map(quote_identifier, writers):
        statements += [
            f"grant usage, create on schema {schema} to {role}",  # staging tables are created there
            f"grant select on table {versions} to {role}",
            f"grant select, insert, update, delete on table {tables} to {role}",
            f"grant execute on function {functions} to {role}",
        ]
    for role in map(quote_identifier, readers):
        statements += [
            f"grant usage on schema {schema} to {role}",
            f"grant select on table {versions}, {tables} to {role}",
            f"grant execute on function {functions} to {role}",
        ]
    return statements


def _checked(step: Migration) -> str:
    """The migration's text, which must not contain the end of its dollar quotes."""
    assert "$migration_" not in step.sql  # noqa: S101 - ours, and tested
    return step.sql.rstrip()
