"""Write a reconciled load's rows to the target, as its write mode says.

All of it runs in the transaction that reconciles and publishes.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import asyncpg

from rowledger.contract import Fingerprint
from rowledger.counted import counted
from rowledger.ledger import ChunkTotals, note_entries
from rowledger.postgres import (
    LEDGER_SCHEMA,
    ensure_partition,
    insert_statement,
    lock_target_against_writers,
    partition_predicate,
    publish_by_attach,
    publish_by_insert,
    publish_by_swap,
    query,
    quoted,
    read_obstacle_of_rows,
    read_swap_obstacle,
    retrying,
    same_key,
    transaction,
)
from rowledger.publish.baseline import Baseline, CountedRows, counted_rows_of, ensure_baseline, measure_target
from rowledger.publish.finish_context import FinishContext
from rowledger.publish.reconcile import Measured
from rowledger.publish.stored_rows import hear_deferred, require_kept, require_same, require_stored, store_rows
from rowledger.settings import WriterSettings
from rowledger.spec import WriteMode

__all__ = ["Published", "publish_rows"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Published:
    """What became of the rows written: added to the table, or written over rows with their key.

    `note` says why the staging table was not attached or swapped, where that was to be expected.
    """

    inserted_rows: int
    updated_rows: int
    note: str = ""


async def publish_rows(connection: asyncpg.Connection, load: FinishContext, totals: ChunkTotals) -> Published:
    """Make the rows visible when the transaction commits; raises DiscrepancyFound where the target has stored other rows."""
    publish = _replace if load.spec.write_mode is WriteMode.REPLACE else _add
    return await publish(connection, load, totals)


async def _replace(connection: asyncpg.Connection, load: FinishContext, totals: ChunkTotals) -> Published:
    """Replace the rows without moving any where the target allows it, otherwise by deleting and inserting."""
    replaced = await connection.fetch(
        query("replace_published_load"), str(load.spec.target), load.partition.key, not load.partition.conditions
    )
    await note_entries(connection, [row["load_id"] for row in replaced])
    await _record(connection, load)
    obstacle = await _move(connection, load, replaces=True)
    if obstacle is None:
        return Published(totals.counts.written_rows, 0)
    await _replace_by_insert(connection, load, totals)
    note = f"the rows were deleted and inserted instead of moved with their table, since {obstacle}" if obstacle else ""
    return Published(totals.counts.written_rows, 0, note)


async def _add(connection: asyncpg.Connection, load: FinishContext, totals: ChunkTotals) -> Published:
    """Add the rows to those that are in the table; an upsert updates the rows whose key is there."""
    spec, target, handle = load.spec, load.target, load.handle
    updates = spec.write_mode is WriteMode.UPSERT
    scope = counted_rows_of(spec, target, load.partition, spec.write_mode)
    if updates or scope.partition_key is None:
        # An upsert counts what it finds; where the whole table is counted, loads of other partitions count the same rows.
        await _exclude_writers(connection, load, scope)
    base = await ensure_baseline(connection, load, scope)
    if await _move(connection, load, replaces=False) is None:
        await _record(connection, load, base=base)
        return Published(totals.counts.written_rows, 0)
    replaced = None
    if updates:
        staging = quoted(LEDGER_SCHEMA, handle.staging_table)
        is_staged = f"exists (select from {staging} as staged where {same_key(spec.key, 'staged', 'target')})"
        replaced = await measure_target(connection, load, f"({scope.predicate}) and {is_staged}")
    await _record(connection, load, base=base, replaced=replaced)
    await ensure_partition(connection, target, load.partition)
    before = await _measure_for_triggers(connection, load, scope, base)
    statement = insert_statement(target, handle, updates=updates)
    stored = await store_rows(connection, load, statement)
    await require_stored(connection, load, totals, stored, "inserted or updated" if updates else "inserted")
    if before is not None:
        await require_kept(connection, load, scope, before, stored, replaced)
    updated_rows = replaced.rows if replaced else 0
    return Published(stored.rows - updated_rows, updated_rows)


async def _record(
    connection: asyncpg.Connection,
    load: FinishContext,
    *,
    base: Baseline | None = None,
    replaced: Measured | None = None,
) -> None:
    """Record what a later verification needs."""
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


async def _exclude_writers(connection: asyncpg.Connection, load: FinishContext, scope: CountedRows) -> None:
    """Lock the rows in this scope against other writers."""
    partition = None if scope.partition_key is None else load.partition

    async def lock() -> None:
        async with transaction(connection):
            await lock_target_against_writers(connection, load.target, partition)

    await _in_turns(load.settings, lock)


async def _in_turns(settings: WriterSettings, work: Callable[[], Awaitable[T]]) -> T:
    """Do work that locks the target, all or nothing. It waits in short turns, so that readers do not queue behind it."""
    turns = retrying(settings, retry_if=lambda error: isinstance(error, asyncpg.LockNotAvailableError))
    async for turn in turns:
        with turn:
            return await work()
    raise AssertionError("the last turn returns or raises")


class _ReadersFound(Exception):
    """There are readers who may have a snapshot older than the staged rows."""


async def _move(connection: asyncpg.Connection, load: FinishContext, *, replaces: bool) -> str | None:
    """Make the staging table a partition, or the whole table; returns None when it is done, otherwise the reason why not.

    The reason is empty where it could not be expected. Every obstacle is looked for before the target is locked against others
    than those who alter it.
    """
    target, handle, partition = load.target, load.handle, load.partition
    is_partition = target.takes_partitions_of(partition)
    if not is_partition and (partition.conditions or not replaces):
        return ""
    if not load.settings.publish_by_moving:
        return "publish_by_moving is off"
    find_obstacle = (
        read_obstacle_of_rows(connection, target) if is_partition else read_swap_obstacle(connection, target, handle)
    )
    if (obstacle := await find_obstacle) is not None:
        return obstacle

    async def move(unless: Exception | None) -> str | None:
        if is_partition:
            return await publish_by_attach(connection, target, handle, partition, replaces=replaces, unless=unless)
        if unless is not None:
            raise unless
        return await publish_by_swap(connection, target, handle)

    return await _move_after_readers(connection, load, move)


async def _move_after_readers(
    connection: asyncpg.Connection, load: FinishContext, move: Callable[[Exception | None], Awaitable[str | None]]
) -> str | None:
    """Move the rows once no reader has a snapshot older than they are. `move` raises its argument when all else allows it."""
    patience_s = load.settings.publish_snapshot_wait_s
    patience = load.settings.model_copy(update={"retry_budget_s": patience_s})
    readers = await load.old_snapshots.look(connection, load.handle)
    try:
        try:
            return await _in_turns(patience, lambda: move(_ReadersFound() if readers else None))
        except _ReadersFound:
            # They are waited for without the lock. Those who come meanwhile see all rows.
            if left := await load.old_snapshots.wait_for_end(connection, load.handle, readers):
                return (
                    f"{left} session(s) of this database have a snapshot older than these rows, and would see a part of "
                    f"them (waited for {patience_s:g} s, publish_snapshot_wait_s)"
                )
            return await _in_turns(patience, lambda: move(None))
    except asyncpg.LockNotAvailableError:
        # A reader that is idle in a transaction holds its lock for hours, and inserting needs a weaker one.
        return (
            f"another session of this database has kept it locked (waited for {patience_s:g} s, "
            "publish_snapshot_wait_s; see pg_locks, and sessions idle in transaction in pg_stat_activity)"
        )


async def _replace_by_insert(connection: asyncpg.Connection, load: FinishContext, totals: ChunkTotals) -> None:
    """Delete and insert, then count and compare what is there."""
    target, written_rows = load.target, totals.counts.written_rows
    inserted_rows = await publish_by_insert(connection, target, load.handle, load.partition)
    await hear_deferred(connection)
    found = await measure_target(connection, load, partition_predicate(target, load.partition))
    problems = []
    if not inserted_rows == found.rows == written_rows:
        problems.append(
            f"{counted(written_rows, 'row')} staged, {inserted_rows} inserted, {found.rows} found in {load.spec.target}"
        )
    await require_same(connection, load, totals, found.fingerprint, problems)


async def _measure_for_triggers(
    connection: asyncpg.Connection, load: FinishContext, scope: CountedRows, base: Baseline
) -> Measured | None:
    """The scope's rows before an INSERT whose triggers may change what it has stored; None where the table has no triggers.

    RETURNING shows a row as it was before AFTER triggers.
    """
    target = load.target
    if not await connection.fetchval(query("has_triggers_or_rules"), target.oid):
        return None
    await _exclude_writers(connection, load, scope)
    return base.found or await measure_target(connection, load, scope.predicate)


def _as_json(fingerprint: Fingerprint | None) -> str | None:
    return fingerprint.to_json() if fingerprint is not None else None
