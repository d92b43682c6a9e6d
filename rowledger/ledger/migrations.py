"""Bring the ledger's schema up to this version of Rowledger while other sessions work on the server."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from rowledger.errors import LedgerBusy, LedgerMismatch, LedgerMissing, MissingPrivilege
from rowledger.postgres import (
    LEDGER_SCHEMA,
    Grant,
    Migration,
    lock_timeout,
    migrations,
    missing_on_schema,
    query,
    quote_identifier,
    require_privileges,
    require_standby,
    transaction,
)
from rowledger.version import version

__all__ = [
    "BLOCK_MIGRATIONS",
    "check_ledger",
    "ensure_ledger",
    "missing_on_ledger",
    "read_ledger_version",
    "require_current_ledger",
]

MIGRATION_LOCK = 0x726F776C
"""An arbitrary constant that every Rowledger shares."""

_LOCK_TIMEOUT_S = 5  # a running load queues behind a migration that waits for its locks
_POLL_S = 0.5
_READS = ("select",)
_WRITES = ("select", "insert", "update", "delete")


@dataclass(frozen=True, slots=True)
class _LedgerFacts:
    """Whether there is a ledger, and what the session's role may do with it."""

    role: str
    database: str
    owner: str | None
    has_schema: bool
    has_ledger: bool
    may_use_schema: bool
    may_read_version: bool
    owns_ledger: bool


async def _read_facts(connection: asyncpg.Connection) -> _LedgerFacts:
    """Read from the catalogue; needs no privilege."""
    return _LedgerFacts(**dict(await connection.fetchrow(query("ledger_facts"), LEDGER_SCHEMA)))


async def missing_on_ledger(connection: asyncpg.Connection, *, writes: bool) -> list[Grant]:
    """Privileges that the role lacks to read the ledger, or with `writes` to load with it or to create its schema."""
    # Staging tables are created in the ledger's schema.
    missing = await missing_on_schema(connection, LEDGER_SCHEMA, ("usage", "create") if writes else ("usage",))
    rows = await connection.fetch(query("missing_ledger_privileges"), list(_WRITES if writes else _READS))
    by_privileges: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        by_privileges.setdefault(tuple(row["privileges"]), []).append(f"{LEDGER_SCHEMA}.{row['table_name']}")
    return missing + [Grant(lacks, f"table {', '.join(tables)}") for lacks, tables in by_privileges.items()]


async def read_ledger_version(connection: asyncpg.Connection) -> int:
    """The newest migration that was applied to the ledger; 0 where there is no ledger, or none that this role may read."""
    facts = await _read_facts(connection)
    if not (facts.has_ledger and facts.may_use_schema and facts.may_read_version):
        return 0
    return int(await connection.fetchval(query("newest_migration")) or 0)


async def check_ledger(connection: asyncpg.Connection) -> None:
    """Check that this session can read a ledger of this version. Changes nothing.

    Raises LedgerMissing, MissingPrivilege and LedgerMismatch.
    """
    facts = await _read_facts(connection)
    if not facts.has_ledger:
        raise LedgerMissing(
            f"database {facts.database} has no ledger: nothing has been loaded into it; the first load makes one, as does "
            "`rowledger db migrate`"
        )
    missing_privileges = await missing_on_ledger(connection, writes=False)
    await require_privileges(connection, missing_privileges, purpose="reading the ledger")
    if missing := await _missing_migrations(connection):
        have, want = missing[0].version - 1, missing[-1].version
        raise LedgerMismatch(
            f"the ledger is at version {have}, and Rowledger {version()} reads version {want}; its owner (role {facts.owner}) "
            "upgrades it by `rowledger db migrate`"
        )


async def ensure_ledger(connection: asyncpg.Connection, *, wait_s: float = 30) -> None:
    """Create the ledger where it is missing, and apply the migrations that it lacks. Many runs may call this at once.

    An upgrade waits up to `wait_s` for runs that work on the ledger, because they know only its previous schema.
    Raises LedgerBusy for runs that continue after that, StandbyMissing, LedgerMismatch, and MissingPrivilege where
    this role cannot create or alter the ledger.
    """
    await require_standby(connection)
    facts = await _read_facts(connection)
    if facts.has_ledger:
        if not (facts.may_use_schema and facts.may_read_version):
            missing = await missing_on_ledger(connection, writes=True)
            await require_privileges(connection, missing, purpose="loading")
        if not await _missing_migrations(connection):
            return
    await _require_owner(connection, facts)
    give_up_at = time.monotonic() + wait_s
    while (told := await _migrate(connection)) is not None:
        if time.monotonic() >= give_up_at:
            raise LedgerBusy(f"{told}; wait for that run to end or cancel it, then rerun")
        await asyncio.sleep(_POLL_S)


BLOCK_MIGRATIONS = "lock table rowledger.load in row exclusive mode"
"""SQL that blocks migrations until the transaction ends, for `require_current_ledger`."""


async def require_current_ledger(connection: asyncpg.Connection) -> None:
    """Raise LedgerMismatch where a migration was applied since the run began. The caller has blocked further ones.

    A migration waits for runs that it sees at work, and a run cannot be seen before it begins its first load.
    """
    found = await connection.fetchval(query("newest_migration"))
    if found != (known := migrations()[-1].version):
        raise LedgerMismatch(
            f"the ledger was brought to version {found} since this run began, and Rowledger {version()} knows version {known}; "
            "rerun with the Rowledger that upgraded it"
        )


async def _require_owner(connection: asyncpg.Connection, facts: _LedgerFacts) -> None:
    """Raise MissingPrivilege where the role can neither create nor alter the ledger."""
    if not facts.has_ledger:
        missing = await missing_on_schema(connection, LEDGER_SCHEMA, ("usage", "create"))
        await require_privileges(connection, missing, purpose="making the ledger")
    elif not facts.owns_ledger:
        raise MissingPrivilege(
            f"the ledger has to be upgraded by its owner, role {facts.owner}; this session is role {facts.role}. As the "
            "owner or a superuser run `rowledger db migrate`, or what `rowledger db migrate --print-sql` prints"
        )


async def _migrate(connection: asyncpg.Connection) -> str | None:
    """Apply missing migrations. Where a run works on the ledger, change nothing and return a sentence that names the run."""
    # A snapshot older than the lock would not show what a rival has just created.
    async with transaction(connection, lock_timeout(_LOCK_TIMEOUT_S), isolation="read_committed"):
        await connection.execute("select pg_advisory_xact_lock($1)", MIGRATION_LOCK)
        facts = await _read_facts(connection)
        if not facts.has_schema:
            await connection.execute(f"create schema {quote_identifier(LEDGER_SCHEMA)}")
        if not facts.has_ledger:
            await connection.execute(
                f"create table {quote_identifier(LEDGER_SCHEMA)}.schema_version ("
                "version integer primary key, name text not null, applied_at timestamptz not null default now())"
            )
        missing = await _missing_migrations(connection)
        if missing and missing[0].version > 1:
            if told := await _living_run(connection, missing):
                return told
            # A run that begins a load meanwhile waits here, and then finds the new ledger.
            await connection.execute("lock table rowledger.load, rowledger.chunk, rowledger.lease in exclusive mode")
            if told := await _living_run(connection, missing):
                return told
        before = [row["name"] for row in await connection.fetch(query("ledger_tables"))]
        for migration in missing:
            await connection.execute(migration.sql)
            await connection.execute(query("record_schema_version"), migration.version, migration.name)
        for row in await connection.fetch(query("share_grants"), before):
            await connection.execute(row["statement"])
        await connection.execute(
            query("record_checksums"),
            [migration.version for migration in missing],
            [migration.checksum for migration in missing],
            version(),
        )
    return None


async def _living_run(connection: asyncpg.Connection, missing: Sequence[Migration]) -> str | None:
    """The run that works on the ledger, as the beginning of a sentence; None where there is none."""
    run = await connection.fetchrow(query("living_runs"))
    if run is None:
        return None
    who = (
        f"run {run['run_id'] or '-'}, pid {run['holder_pid']} on {run['holder_host']}" if run["holder_pid"] else "a run"
    )
    what = f" of table {run['table_name']}, partition {run['partition_key']}" if run["table_name"] else ""
    return (
        f"the ledger has to be upgraded from version {missing[0].version - 1} to {missing[-1].version}, and {who} (role "
        f"{run['role']}, server process {run['backend_pid']}) is at work on it{what}"
    )


async def _missing_migrations(connection: asyncpg.Connection) -> list[Migration]:
    """Migrations that were not applied yet; raises LedgerMismatch for a newer ledger and for one made from other texts."""
    wanted = {migration.version: migration for migration in migrations()}
    applied = {row["version"]: row for row in await connection.fetch(query("applied_migrations"))}
    newest = max(wanted)
    if applied and max(applied) > newest:
        raise LedgerMismatch(
            f"the ledger is at version {max(applied)}, newer than this Rowledger knows ({version()} knows {newest}): upgrade "
            "Rowledger"
        )
    for number, row in applied.items():
        migration = wanted[number]
        if row["checksum"] not in (None, migration.checksum):
            raise LedgerMismatch(
                f"migration {number:04}_{row['name']} of the ledger is not the one that Rowledger {version()} has "
                f"({number:04}_{migration.name}): the file was edited after it was applied, or the ledger was made by another "
                "build; restore the file, or install the build that made the ledger"
            )
    return [migration for number, migration in sorted(wanted.items()) if number not in applied]
