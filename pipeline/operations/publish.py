"""Finish a load: build the key, reconcile, and make the rows visible, or reject them.

Reconciling and publishing are one transaction. Nobody can change the staging table between the two, and the target is locked
only by the last statements of it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from pipeline.errors import DeadLetterBudgetSpent, DiscrepancyFound, Fenced, RowledgerError, TargetMismatch
from pipeline.failpoints import Place, async_failpoint
from pipeline.model.manifest import ChunkPlan, Manifest
from pipeline.model.partition import Partition
from pipeline.model.report import Check, CheckName
from pipeline.model.states import LoadState
from pipeline.model.table import Drift, TableSpec
from pipeline.operations.control import Control
from pipeline.operations.duplicates import set_duplicates_aside
from pipeline.operations.reconcile import fingerprint_check, measure_relation, read_ledger_fingerprint, reconcile
from pipeline.postgres.catalogue import (
    LEDGER_SCHEMA,
    Target,
    add_key,
    has_key,
    partition_predicate,
    quoted,
)
from pipeline.postgres.evolution import align_staging
from pipeline.postgres.ledger import ChunkTotals, LoadHandle, end_load, read_pending_chunks
from pipeline.postgres.publication import (
    lock_target,
    publish_by_attach,
    publish_by_insert,
    publish_by_swap,
    read_swap_obstacles,
)
from pipeline.postgres.queries import query
from pipeline.postgres.retry import may_retry, retrying
from pipeline.postgres.session import transaction
from pipeline.postgres.sqlstate import summarize
from pipeline.settings import WriterSettings

__all__ = ["FinishedLoad", "Verdict", "finish_load", "reject_load"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a load was judged. `error` is None when it was published."""

    totals: ChunkTotals
    checks: tuple[Check, ...]
    error: RowledgerError | None


@dataclass(frozen=True, slots=True)
class FinishedLoad:
    """What finishing needs to know of a load whose chunks have all committed."""

    spec: TableSpec
    target: Target
    partition: Partition
    manifest: Manifest
    handle: LoadHandle

    @property
    def facts(self) -> dict[str, object]:
        """What failpoints can ask for."""
        return {"partition": self.partition.key}


async def finish_load(
    control: Control, load: FinishedLoad, settings: WriterSettings, say: Callable[[str], None]
) -> Verdict | tuple[ChunkPlan, ...]:
    """Judge the load by what the database holds, and publish it if every check passes.

    Returns what is still to be done, chunks that are pending, instead of a verdict: chunks commit without waiting for the disk,
    so a crash of the server may have undone what was reported.
    """
    name = f"table {load.spec.name}, partition {load.partition.key}"
    if load.spec.key and (pending := await _build_key(control, load, settings, say)):
        return pending
    await async_failpoint(Place.BEFORE_RECONCILE, **load.facts)
    return await control.transaction(
        f"{name}: reconcile and publish",
        lambda connection: _judge(connection, load, settings),
        durable=True,
        lock_timeout_s=settings.publish_lock_timeout_s,
    )


async def reject_load(control: Control, handle: LoadHandle, reason: str) -> None:
    """End a load that must not be published or resumed."""
    await control.transaction(
        f"load {handle.load_id}: reject", lambda connection: end_load(connection, handle, LoadState.REJECTED, reason)
    )


async def _build_key(
    control: Control, load: FinishedLoad, settings: WriterSettings, say: Callable[[str], None]
) -> tuple[ChunkPlan, ...]:
    """Build the key first and look for duplicates only when that fails: finding none costs four times the index.

    Both look for pending chunks inside their own transaction and commit durably, which puts all chunks before them on disk too:
    a crash of the server leaves either a key over all rows, or chunks that are seen to be pending. Returns those.
    """
    name = f"partition {load.partition.key}"

    async def build(connection: asyncpg.Connection) -> tuple[ChunkPlan, ...]:
        pending = await read_pending_chunks(connection, load.handle, load.manifest)
        if not pending and not await has_key(connection, load.handle):
            await add_key(connection, load.handle, load.spec.key)
        return pending

    async def set_aside_and_build(connection: asyncpg.Connection) -> tuple[ChunkPlan, ...]:
        if pending := await read_pending_chunks(connection, load.handle, load.manifest):
            return pending
        surplus = await set_duplicates_aside(
            connection,
            load.spec,
            load.target,
            load.handle,
            load.partition,
            settings,
            manifest=load.manifest,
            worker_pid=os.getpid(),
        )
        say(f"{name}: {surplus} row(s) repeat a key of rows before them and become dead letters")
        if not await has_key(connection, load.handle):
            await add_key(connection, load.handle, load.spec.key)
        return ()

    try:
        return await control.transaction(f"{name}: build the key", build, durable=True)
    except asyncpg.UniqueViolationError:
        return await control.transaction(f"{name}: set duplicates aside", set_aside_and_build, durable=True)


async def _judge(
    connection: asyncpg.Connection, load: FinishedLoad, settings: WriterSettings
) -> Verdict | tuple[ChunkPlan, ...]:
    handle, spec = load.handle, load.spec
    if await connection.fetchval(query("lock_load"), handle.load_id, handle.epoch) is None:
        return await _already_judged(connection, load, settings)
    if pending := await read_pending_chunks(connection, handle, load.manifest):
        return pending
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    await connection.execute(f"lock table {staging} in share mode")
    if spec.key and not await has_key(connection, handle):
        return ()  # taken away since it was built: built again, or never published
    await async_failpoint(Place.IN_RECONCILE, **load.facts)
    totals, checks = await reconcile(
        connection,
        spec,
        load.target.columns,
        load.manifest,
        load_id=handle.load_id,
        staging=staging,
        fingerprint=settings.fingerprint,
    )
    failed = [check for check in checks if not check.passed]
    if failed:
        reason = "; ".join(f"{check.name}: {check.summary}" for check in failed)
        await end_load(connection, handle, LoadState.REJECTED, reason)
        only_budget = all(check.name is CheckName.DEAD_LETTER_BUDGET for check in failed)
        kind = DeadLetterBudgetSpent if only_budget else DiscrepancyFound
        return Verdict(totals, checks, kind(f"table {spec.name}, partition {load.partition.key}: {reason}"))
    await async_failpoint(Place.BEFORE_PUBLISH, **load.facts)
    await connection.execute(
        query("replace_published_load"), str(spec.target), load.partition.key, load.partition.column is None
    )
    try:
        if spec.drift is Drift.EVOLVE:
            await align_staging(connection, load.target, handle)
        await _publish(connection, load, totals, settings)
    except asyncpg.PostgresError as error:
        if may_retry(error):
            raise
        raise TargetMismatch(  # without its cause, whose text may quote a row
            f"table {spec.name}, partition {load.partition.key}: target {spec.target} does not take the rows: "
            f"{summarize(error)}. Alter the table or the row model; nothing was published, a rerun resumes here."
        ) from None
    await end_load(connection, handle, LoadState.PUBLISHED, "every check passed")
    return Verdict(totals, checks, None)


async def _already_judged(connection: asyncpg.Connection, load: FinishedLoad, settings: WriterSettings) -> Verdict:
    """The load is not loading any more: either our own COMMIT went through and its reply was lost, or we are fenced.

    That it is called published is not believed: what readers see is held against the plan as the staging table would be.
    """
    found = await connection.fetchrow(query("load_state"), load.handle.load_id)
    if found is None:
        raise DiscrepancyFound(
            f"table {load.spec.name}, partition {load.partition.key}: load {load.handle.load_id} is gone from the ledger"
        )
    state, epoch, verdict = tuple(found)
    if state == LoadState.PUBLISHED and epoch == load.handle.epoch:
        target = load.target
        totals, checks = await reconcile(
            connection,
            load.spec,
            target.columns,
            load.manifest,
            load_id=load.handle.load_id,
            staging=quoted(target.name.schema_name, target.name.table),
            predicate=partition_predicate(target, load.partition) or "true",
            fingerprint=settings.fingerprint,
        )
        if failed := "; ".join(f"{check.name}: {check.summary}" for check in checks if not check.passed):
            where = f"table {load.spec.name}, partition {load.partition.key}"
            error = DiscrepancyFound(f"{where}: the ledger calls it published, but {failed}")
            return Verdict(totals, checks, error)
        return Verdict(totals, checks, None)
    if state == LoadState.REJECTED and epoch == load.handle.epoch:
        raise DiscrepancyFound(f"table {load.spec.name}, partition {load.partition.key}: {verdict}")
    raise Fenced(f"load {load.handle.load_id} is {state}: another run has taken it over")


async def _publish(
    connection: asyncpg.Connection, load: FinishedLoad, totals: ChunkTotals, settings: WriterSettings
) -> None:
    """Make the rows visible without moving them where the target allows it, otherwise copy them over.

    The target's lock is waited for in short turns, so that readers do not pile up behind us.
    """
    turns = retrying(settings, retry_if=lambda error: isinstance(error, asyncpg.LockNotAvailableError))
    if load.target.takes_partitions_of(load.partition):
        async for turn in turns:
            with turn:
                async with transaction(connection):
                    await publish_by_attach(connection, load.target, load.handle, load.partition)
        return
    if load.partition.column is None:
        async for turn in turns:
            with turn:
                if await _swap(connection, load):
                    return
    await _publish_by_insert(connection, load, totals, settings)


async def _swap(connection: asyncpg.Connection, load: FinishedLoad) -> bool:
    """Whether the staging table has taken the target's place; what stands against it is looked for again under the lock."""
    if await read_swap_obstacles(connection, load.target, load.handle):
        return False
    async with transaction(connection):
        await lock_target(connection, load.target)
        if await read_swap_obstacles(connection, load.target, load.handle):
            return False
        try:
            async with transaction(connection):
                await publish_by_swap(connection, load.target, load.handle)
        except (
            asyncpg.DependentObjectsStillExistError
        ):  # something hangs on it that the look for obstacles does not know
            return False
    return True


async def _publish_by_insert(
    connection: asyncpg.Connection, load: FinishedLoad, totals: ChunkTotals, settings: WriterSettings
) -> None:
    """Delete and insert, then count and compare: a trigger or a rule of the target may have had a say."""
    target, written_rows = load.target, totals.written_rows
    _, inserted = await publish_by_insert(connection, target, load.handle, load.partition)
    found = await measure_relation(
        connection,
        quoted(target.name.schema_name, target.name.table),
        target.columns,
        predicate=partition_predicate(target, load.partition) or "true",
        fingerprint=settings.fingerprint,
    )
    problems = []
    if not inserted == found.rows == written_rows:
        problems.append(f"{written_rows} rows staged, {inserted} inserted, {found.rows} found in {load.spec.target}")
    if settings.fingerprint:
        expected = await read_ledger_fingerprint(connection, load.handle.load_id, totals, target.columns)
        check = fingerprint_check(expected, found.fingerprint)
        problems += [] if check.passed else [check.summary]
    if problems:
        raise DiscrepancyFound(
            f"table {load.spec.name}, partition {load.partition.key}: {'; '.join(problems)}; "
            "look for triggers or rules on the target"
        )
