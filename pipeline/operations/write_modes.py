"""Bring a reconciled load's rows into the target, as its write mode says, and count what the target has really stored.

Triggers and rules of the target may have a say in what becomes of a row, so it is not enough that a statement raised nothing.
All of it runs in the transaction that reconciles and publishes.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import asyncpg

from pipeline.contract.fingerprint import Fingerprint
from pipeline.contract.fingerprint_sql import fingerprint_query, read_fingerprint
from pipeline.errors import DiscrepancyFound
from pipeline.model.manifest import Manifest
from pipeline.model.partition import Partition
from pipeline.model.table import TableSpec, WriteMode
from pipeline.operations.reconcile import Measured, fingerprint_check, measure_relation, read_ledger_fingerprint
from pipeline.operations.sums import Base, Scope, ensure_base, scope_of
from pipeline.postgres.catalogue import LEDGER_SCHEMA, Target, drop_staging, partition_predicate, quoted
from pipeline.postgres.chunk_ledger import LoadHandle
from pipeline.postgres.entries import note_entries
from pipeline.postgres.ledger import ChunkTotals
from pipeline.postgres.publication import (
    ensure_partition,
    insert_statement,
    lock_target_against_writers,
    publish_by_attach,
    publish_by_insert,
    publish_by_swap,
    same_key,
)
from pipeline.postgres.queries import query, quote_identifier
from pipeline.postgres.replacement import read_attach_obstacle, read_swap_obstacle
from pipeline.postgres.retry import retrying
from pipeline.postgres.session import transaction
from pipeline.postgres.snapshots import OldSnapshots
from pipeline.settings import WriterSettings

__all__ = ["FinishedLoad", "Published", "publish_rows", "read_repeated_load"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FinishedLoad:
    """What finishing needs to know of a load whose chunks have all committed."""

    spec: TableSpec
    target: Target
    partition: Partition
    manifest: Manifest
    handle: LoadHandle
    old_snapshots: OldSnapshots

    @property
    def facts(self) -> dict[str, object]:
        """What failpoints can ask for."""
        return {"partition": self.partition.key}

    @property
    def name(self) -> str:
        """Table and partition, for messages."""
        return f"table {self.spec.name}, partition {self.partition.key}"


@dataclass(frozen=True, slots=True)
class Published:
    """What became of the rows written: added to the table, or put in the place of others with their key.

    `note` says why the staging table was not attached or swapped, where that was to be expected.
    """

    inserted_rows: int
    updated_rows: int
    note: str = ""


async def publish_rows(
    connection: asyncpg.Connection, load: FinishedLoad, totals: ChunkTotals, settings: WriterSettings
) -> Published:
    """Make the rows visible when the transaction commits; raises DiscrepancyFound where the target has stored others."""
    match load.spec.write_mode:
        case WriteMode.REPLACE:
            published = await _replace(connection, load, totals, settings)
        case WriteMode.APPEND:
            published = await _append(connection, load, totals, settings)
        case WriteMode.UPSERT:
            published = await _upsert(connection, load, totals, settings)
    await _hear_deferred(connection)
    return published


async def read_repeated_load(
    connection: asyncpg.Connection, spec: TableSpec, partition: Partition, manifest: Manifest
) -> int | None:
    """The load that has appended these very rows of the source to this partition; None in other write modes."""
    if spec.write_mode is not WriteMode.APPEND:
        return None
    arguments = (str(spec.target), partition.key, manifest.content_digest)
    found: int | None = await connection.fetchval(query("published_content"), *arguments)
    return found


async def _replace(
    connection: asyncpg.Connection, load: FinishedLoad, totals: ChunkTotals, settings: WriterSettings
) -> Published:
    """Without moving a row where the target allows it, otherwise by deleting and inserting."""
    replaced = await connection.fetch(
        query("replace_published_load"), str(load.spec.target), load.partition.key, not load.partition.conditions
    )
    await note_entries(connection, [row["load_id"] for row in replaced])
    await _record(connection, load)
    obstacle = await _move(connection, load, settings, replaces=True)
    if obstacle is None:
        return Published(totals.written_rows, 0)
    await _replace_by_insert(connection, load, totals, settings)
    note = f"the rows were deleted and inserted instead of moved with their table, since {obstacle}" if obstacle else ""
    return Published(totals.written_rows, 0, note)


async def _append(
    connection: asyncpg.Connection, load: FinishedLoad, totals: ChunkTotals, settings: WriterSettings
) -> Published:
    """Add the rows to those that are there."""
    scope = scope_of(load.spec, load.target, load.partition, WriteMode.APPEND)
    if load.partition.key != scope.partition_key:
        # Loads of other partitions count the same rows.
        await _in_turns(connection, settings, lambda: lock_target_against_writers(connection, load.target))
    base = await ensure_base(
        connection,
        load.spec,
        load.target,
        scope,
        load_id=load.handle.load_id,
        fingerprint=settings.fingerprint,
    )
    await _record(connection, load, base=base)
    if await _move(connection, load, settings, replaces=False) is None:
        return Published(totals.written_rows, 0)
    await ensure_partition(connection, load.target, load.partition)
    before = await _measure_for_triggers(connection, load, scope, base, settings)
    stored = await _store(
        connection, load, insert_statement(load.target, load.handle), fingerprint=settings.fingerprint
    )
    await _require_stored(connection, load, totals, stored, "inserted")
    if before is not None:
        await _require_kept(connection, load, scope, before, stored, None)
    return Published(stored.rows, 0)


async def _upsert(
    connection: asyncpg.Connection, load: FinishedLoad, totals: ChunkTotals, settings: WriterSettings
) -> Published:
    """Update the rows whose key is there, and add the others; nobody else writes meanwhile, so both can be counted."""
    spec, target, handle = load.spec, load.target, load.handle
    scope = scope_of(spec, target, load.partition, WriteMode.UPSERT)
    partition = None if scope.partition_key is None else load.partition
    await _in_turns(connection, settings, lambda: lock_target_against_writers(connection, target, partition))
    base = await ensure_base(connection, spec, target, scope, load_id=handle.load_id, fingerprint=settings.fingerprint)
    if await _move(connection, load, settings, replaces=False) is None:
        await _record(connection, load, base=base)
        return Published(totals.written_rows, 0)
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    replaced = await measure_relation(
        connection,
        f"{target.sql} as target",
        target.columns,
        predicate=f"({scope.predicate}) and exists "
        f"(select from {staging} as staged where {same_key(spec.key, 'staged', 'target')})",
        fingerprint=settings.fingerprint,
    )
    await _record(connection, load, base=base, replaced=replaced)
    await ensure_partition(connection, target, load.partition)
    before = await _measure_for_triggers(connection, load, scope, base, settings)
    statement = insert_statement(target, handle, upsert_on=spec.key)
    stored = await _store(connection, load, statement, fingerprint=settings.fingerprint)
    await _require_stored(connection, load, totals, stored, "inserted or updated")
    if before is not None:
        await _require_kept(connection, load, scope, before, stored, replaced)
    return Published(stored.rows - replaced.rows, replaced.rows)


async def _record(
    connection: asyncpg.Connection, load: FinishedLoad, *, base: Base | None = None, replaced: Measured | None = None
) -> None:
    """What verification goes by, later on."""
    found = base.found if base else None
    await connection.execute(
        query("record_publication"),
        load.handle.load_id,
        load.spec.write_mode,
        load.manifest.content_digest,
        base.load_id if base else None,
        found.rows if found else None,
        _as_json(found.fingerprint) if found else None,
        replaced.rows if replaced else 0,
        _as_json(replaced.fingerprint) if replaced else None,
    )


async def _in_turns(connection: asyncpg.Connection, settings: WriterSettings, work: Callable[[], Awaitable[T]]) -> T:
    """The work, which locks the target: the lock is waited for in short turns, so that readers do not pile up behind us."""
    turns = retrying(settings, retry_if=lambda error: isinstance(error, asyncpg.LockNotAvailableError))
    async for turn in turns:
        with turn:
            async with transaction(connection):
                return await work()
    raise AssertionError("the last turn returns or raises")


async def _move(
    connection: asyncpg.Connection, load: FinishedLoad, settings: WriterSettings, *, replaces: bool
) -> str | None:
    """Make the staging table the partition, or the table that is loaded whole; None when it is done, otherwise why not.

    The empty text where it could not have been expected. Every obstacle is looked for before the target is locked.
    """
    target, handle, partition = load.target, load.handle, load.partition
    is_partition = target.takes_partitions_of(partition)
    if not is_partition and (partition.conditions or not replaces):
        return ""
    if not settings.publish_by_moving:
        return "publish_by_moving is off"
    if is_partition:
        obstacle = await read_attach_obstacle(connection, target, handle, partition, replaces=replaces)
    else:
        obstacle = await read_swap_obstacle(connection, target, handle)
    if obstacle is not None:
        return obstacle
    if readers := await load.old_snapshots.wait_for_end(connection, handle):
        return (
            f"{readers} session(s) of this database have a snapshot older than these rows, and would see a part of them "
            f"(waited for {settings.publish_snapshot_wait_s:g} s, publish_snapshot_wait_s)"
        )
    if is_partition:
        return await _in_turns(
            connection, settings, lambda: publish_by_attach(connection, target, handle, partition, replaces=replaces)
        )
    return await _in_turns(connection, settings, lambda: publish_by_swap(connection, target, handle))


async def _replace_by_insert(
    connection: asyncpg.Connection, load: FinishedLoad, totals: ChunkTotals, settings: WriterSettings
) -> None:
    """Delete and insert, then count and compare what is there."""
    target, written_rows = load.target, totals.written_rows
    inserted_rows = await publish_by_insert(connection, target, load.handle, load.partition)
    await _hear_deferred(connection)
    found = await measure_relation(
        connection,
        target.sql,
        target.columns,
        predicate=partition_predicate(target, load.partition) or "true",
        fingerprint=settings.fingerprint,
    )
    problems = []
    if not inserted_rows == found.rows == written_rows:
        problems.append(
            f"{written_rows} rows staged, {inserted_rows} inserted, {found.rows} found in {load.spec.target}"
        )
    await _require_same(connection, load, totals, found.fingerprint, problems)


async def _hear_deferred(connection: asyncpg.Connection) -> None:
    """What deferrable constraints and their triggers have to say and to do, while it can be told from a failed COMMIT."""
    await connection.execute("set constraints all immediate")


async def _measure_for_triggers(
    connection: asyncpg.Connection, load: FinishedLoad, scope: Scope, base: Base, settings: WriterSettings
) -> Measured | None:
    """The scope's rows before an INSERT whose triggers may change what it has stored; None where there are none.

    RETURNING has a row as it was before AFTER triggers.
    """
    target = load.target
    if not await connection.fetchval(query("has_triggers_or_rules"), target.oid):
        return None
    partition = None if scope.partition_key is None else load.partition
    await _in_turns(connection, settings, lambda: lock_target_against_writers(connection, target, partition))
    return base.found or await measure_relation(
        connection, target.sql, target.columns, predicate=scope.predicate, fingerprint=settings.fingerprint
    )


async def _require_kept(
    connection: asyncpg.Connection,
    load: FinishedLoad,
    scope: Scope,
    before: Measured,
    stored: Measured,
    replaced: Measured | None,
) -> None:
    """Raise DiscrepancyFound unless the table has the rows that it had, and those that the INSERT has stored."""
    target = load.target
    found = await measure_relation(
        connection,
        target.sql,
        target.columns,
        predicate=scope.predicate,
        fingerprint=before.fingerprint is not None,
    )
    gone = replaced or Measured(0, None)
    expected_rows = before.rows + stored.rows - gone.rows
    problems = []
    if found.rows != expected_rows:
        problems.append(
            f"{found.rows} rows found in {load.spec.target}, {expected_rows} were there or have been stored"
        )
    if before.fingerprint is not None and stored.fingerprint is not None and found.fingerprint is not None:
        expected = before.fingerprint + stored.fingerprint
        if gone.fingerprint is not None:
            expected -= gone.fingerprint
        check = fingerprint_check(expected, found.fingerprint)
        problems += [] if check.passed else [check.summary]
    await _raise_for(connection, load, problems)


async def _store(connection: asyncpg.Connection, load: FinishedLoad, statement: str, *, fingerprint: bool) -> Measured:
    """Run an INSERT, and measure the rows as the table has stored them."""
    columns = load.target.columns
    names = ", ".join(quote_identifier(column.name) for column in columns)
    measuring = (
        fingerprint_query(columns, quote_identifier, "stored") if fingerprint else "select 0, count(*) from stored"
    )
    found = await connection.fetch(f"with stored as ({statement} returning {names}) {measuring}")
    await _hear_deferred(connection)
    await drop_staging(connection, load.handle.staging_table)
    return Measured(*read_fingerprint(columns, found)) if fingerprint else Measured(found[0][1], None)


async def _require_stored(
    connection: asyncpg.Connection, load: FinishedLoad, totals: ChunkTotals, stored: Measured, done: str
) -> None:
    problems = []
    if stored.rows != totals.written_rows:
        problems.append(f"{totals.written_rows} rows staged, {stored.rows} {done} in {load.spec.target}")
    await _require_same(connection, load, totals, stored.fingerprint, problems)


async def _require_same(
    connection: asyncpg.Connection,
    load: FinishedLoad,
    totals: ChunkTotals,
    found: Fingerprint | None,
    problems: list[str],
) -> None:
    """Raise DiscrepancyFound for these problems, and where the values stored are not those that were read."""
    if found is not None:
        expected = await read_ledger_fingerprint(connection, load.handle.load_id, totals, load.target.columns)
        check = fingerprint_check(expected, found)
        problems += [] if check.passed else [check.summary]
    await _raise_for(connection, load, problems)


async def _raise_for(connection: asyncpg.Connection, load: FinishedLoad, problems: list[str]) -> None:
    if problems:
        acting = [row[0] for row in await connection.fetch(query("triggers_and_rules"), load.target.oid)]
        raise DiscrepancyFound(
            f"{load.name}: {'; '.join(problems)}; look for triggers or rules on the target"
            + (f" ({', '.join(acting)})" if acting else "")
        )


def _as_json(fingerprint: Fingerprint | None) -> str | None:
    return fingerprint.to_json() if fingerprint is not None else None
