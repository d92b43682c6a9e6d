"""Finish a load: set aside what cannot be published, build the key, reconcile, and make the rows visible, or reject them.

Reconciling and publishing are one transaction. Nobody can change the staging table between the two, and the target is locked
only by the last statements of it.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import asyncpg

from pipeline.errors import DeadLetterBudgetSpent, DiscrepancyFound, Fenced, RowledgerError, TargetMismatch
from pipeline.failpoints import Place, async_failpoint
from pipeline.model.manifest import ChunkPlan, Manifest
from pipeline.model.partition import Partition
from pipeline.model.report import Check, CheckName
from pipeline.model.states import LoadState
from pipeline.model.table import Drift, TableSpec, WriteMode
from pipeline.operations.control import Control
from pipeline.operations.duplicates import Finding, set_rows_aside
from pipeline.operations.findings import collisions, duplicate_keys, duplicates, orphans, unique_indexes
from pipeline.operations.reconcile import budget_check, reconcile
from pipeline.operations.verify import verify_published
from pipeline.operations.write_modes import FinishedLoad, publish_rows
from pipeline.postgres.catalogue import (
    LEDGER_SCHEMA,
    add_key,
    add_unique_index,
    drop_staging,
    has_key,
    partition_predicate,
    quoted,
)
from pipeline.postgres.constraints import UniqueIndex
from pipeline.postgres.evolution import align_staging
from pipeline.postgres.ledger import ChunkTotals, LoadHandle, end_load, read_chunk_totals, read_pending_chunks
from pipeline.postgres.queries import query
from pipeline.postgres.retry import may_retry
from pipeline.postgres.sqlstate import summarize
from pipeline.settings import WriterSettings

__all__ = ["FinishedLoad", "Verdict", "find_repeated", "finish_load", "reject_load"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a load was judged. `error` is None when its rows are in the table; `note` says what else there is to say of it."""

    totals: ChunkTotals
    checks: tuple[Check, ...]
    error: RowledgerError | None
    note: str = ""


async def finish_load(
    control: Control, load: FinishedLoad, settings: WriterSettings, say: Callable[[str], None]
) -> Verdict | tuple[ChunkPlan, ...]:
    """Judge the load by what the database holds, and publish it if every check passes.

    Returns what is still to be done, chunks that are pending, instead of a verdict: chunks commit without waiting for the disk,
    so a crash of the server may have undone what was reported.
    """
    if pending := await _fit_to_others(control, load, settings, say):
        return pending
    await async_failpoint(Place.BEFORE_RECONCILE, **load.facts)
    verdict = await control.transaction(
        f"{load.name}: reconcile and publish",
        lambda connection: _judge(connection, load, settings),
        durable=True,
        lock_timeout_s=settings.publish_lock_timeout_s,
    )
    if isinstance(verdict, Verdict) and verdict.note:
        say(f"{load.name}: {verdict.note}")
    return verdict


async def find_repeated(control: Control, spec: TableSpec, partition: Partition, manifest: Manifest) -> Verdict | None:
    """The verdict on rows that an earlier load has appended, before they are read a second time; None for any others."""
    if spec.write_mode is not WriteMode.APPEND:
        return None

    async def look(connection: asyncpg.Connection) -> Verdict | None:
        earlier = await _read_repeated_load(connection, spec, partition, manifest)
        return None if earlier is None else await _repeated(connection, spec, earlier)

    return await control.transaction(f"table {spec.name}, partition {partition.key}: look for an earlier load", look)


async def reject_load(control: Control, handle: LoadHandle, reason: str) -> None:
    """End a load that must not be published or resumed."""
    await control.transaction(
        f"load {handle.load_id}: reject", lambda connection: end_load(connection, handle, LoadState.REJECTED, reason)
    )


async def _fit_to_others(
    control: Control, load: FinishedLoad, settings: WriterSettings, say: Callable[[str], None]
) -> tuple[ChunkPlan, ...]:
    """Set aside the rows that others keep from being published; returns chunks that are found to be pending.

    First those that no row of this load can bring back: without a parent, or in the table already. Of those that share a key
    one stays, and is not to be one of them.
    """
    spec, target, handle, partition = load.spec, load.target, load.handle, load.partition
    alone = [
        *orphans(spec, target, handle, partition, on_itself=False),
        *collisions(spec, target, handle, partition),
    ]
    if alone and (pending := await _set_aside(control, load, alone, settings, say)):
        return pending
    if spec.key and (pending := await _build_key(control, load, settings, say)):
        return pending
    for number, index in enumerate(unique_indexes(target)):
        if pending := await _build_unique_index(control, load, number, index, settings, say):
            return pending
    if on_itself := orphans(spec, target, handle, partition, on_itself=True):
        return await _set_aside(control, load, on_itself, settings, say)
    return ()


async def _set_aside(
    control: Control,
    load: FinishedLoad,
    findings: Sequence[Finding],
    settings: WriterSettings,
    say: Callable[[str], None],
) -> tuple[ChunkPlan, ...]:
    """Look for what is wrong until nothing is: a row that goes may be another's parent."""

    async def look(connection: asyncpg.Connection) -> tuple[tuple[ChunkPlan, ...], dict[str, int]]:
        gone: dict[str, int] = {}
        if pending := await read_pending_chunks(connection, load.handle, load.manifest):
            return pending, gone
        if await _read_repeated_load(connection, load.spec, load.partition, load.manifest) is not None:
            return (), gone  # its rows are all in the table already, and are not to be blamed for that
        while found := {
            finding.what: await _set_found_aside(connection, load, finding, settings) for finding in findings
        }:
            if not any(found.values()):
                break
            gone = {what: gone.get(what, 0) + rows for what, rows in found.items()}
        return (), gone

    pending, gone = await control.transaction(f"{load.name}: look for rows to set aside", look, durable=True)
    for what, rows in gone.items():
        if rows:
            say(f"{load.name}: {rows} row(s) {what} and become dead letters")
    return pending


async def _set_found_aside(
    connection: asyncpg.Connection, load: FinishedLoad, finding: Finding, settings: WriterSettings
) -> int:
    return await set_rows_aside(
        connection,
        finding,
        load.spec,
        load.target,
        load.handle,
        load.partition,
        settings,
        manifest=load.manifest,
        worker_pid=os.getpid(),
    )


async def _build_key(
    control: Control, load: FinishedLoad, settings: WriterSettings, say: Callable[[str], None]
) -> tuple[ChunkPlan, ...]:
    """Build the key first and look for duplicates only when that fails: finding none costs four times the index.

    Both look for pending chunks inside their own transaction and commit durably, which puts all chunks before them on disk too:
    a crash of the server leaves either a key over all rows, or chunks that are seen to be pending. Returns those.
    """

    async def build(connection: asyncpg.Connection) -> tuple[ChunkPlan, ...]:
        pending = await read_pending_chunks(connection, load.handle, load.manifest)
        if not pending and not await has_key(connection, load.handle):
            await add_key(connection, load.handle, load.spec.key)
        return pending

    return await _build_or_set_aside(control, load, build, duplicate_keys(load.spec, load.handle), settings, say)


async def _build_unique_index(
    control: Control,
    load: FinishedLoad,
    number: int,
    index: UniqueIndex,
    settings: WriterSettings,
    say: Callable[[str], None],
) -> tuple[ChunkPlan, ...]:
    """A unique index as the target has it, in the same way; attaching takes it over."""

    async def build(connection: asyncpg.Connection) -> tuple[ChunkPlan, ...]:
        if not (pending := await read_pending_chunks(connection, load.handle, load.manifest)):
            await add_unique_index(connection, load.handle, number, index)
        return pending

    return await _build_or_set_aside(control, load, build, duplicates(index, load.target, load.handle), settings, say)


async def _build_or_set_aside(
    control: Control,
    load: FinishedLoad,
    build: Callable[[asyncpg.Connection], Awaitable[tuple[ChunkPlan, ...]]],
    finding: Finding,
    settings: WriterSettings,
    say: Callable[[str], None],
) -> tuple[ChunkPlan, ...]:
    async def set_aside_and_build(connection: asyncpg.Connection) -> tuple[ChunkPlan, ...]:
        if pending := await read_pending_chunks(connection, load.handle, load.manifest):
            return pending
        surplus = await _set_found_aside(connection, load, finding, settings)
        say(f"{load.name}: {surplus} row(s) {finding.what} of rows before them and become dead letters")
        return await build(connection)

    try:
        return await control.transaction(f"{load.name}: build the key", build, durable=True)
    except asyncpg.UniqueViolationError:
        return await control.transaction(f"{load.name}: set duplicates aside", set_aside_and_build, durable=True)


async def _read_repeated_load(
    connection: asyncpg.Connection, spec: TableSpec, partition: Partition, manifest: Manifest
) -> int | None:
    """The load that has appended these very rows of the source to this partition; None in other write modes."""
    if spec.write_mode is not WriteMode.APPEND:
        return None
    arguments = (str(spec.target), partition.key, manifest.content_digest)
    found: int | None = await connection.fetchval(query("published_content"), *arguments)
    return found


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
        return Verdict(totals, checks, kind(f"{load.name}: {reason}"))
    await async_failpoint(Place.BEFORE_PUBLISH, **load.facts)
    return await _publish(connection, load, totals, checks, settings)


async def _publish(
    connection: asyncpg.Connection,
    load: FinishedLoad,
    totals: ChunkTotals,
    checks: tuple[Check, ...],
    settings: WriterSettings,
) -> Verdict:
    if (earlier := await _read_repeated_load(connection, load.spec, load.partition, load.manifest)) is not None:
        return await _end_as_repeated(connection, load, earlier)
    try:
        if load.spec.drift is Drift.EVOLVE:
            await align_staging(connection, load.target, load.handle)
        published = await publish_rows(connection, load, totals, settings)
    except asyncpg.PostgresError as error:
        if may_retry(error):
            raise
        raise TargetMismatch(  # without its cause, whose text may quote a row
            f"{load.name}: target {load.spec.target} does not take the rows: "
            f"{_explain(error)}. Alter the table or the row model; nothing was published, a rerun resumes here."
        ) from None
    await async_failpoint(Place.IN_PUBLISH, **load.facts)
    await end_load(connection, load.handle, LoadState.PUBLISHED, "every check passed")
    if load.spec.write_mode is not WriteMode.UPSERT:
        return Verdict(totals, checks, None)
    counts = {"rows inserted": published.inserted_rows, "rows updated": published.updated_rows}
    note = f"{published.inserted_rows} rows inserted, {published.updated_rows} updated"
    return Verdict(totals, _balance_with(checks, note, counts), None, note)


def _explain(error: asyncpg.PostgresError) -> str:
    """The error without row values, and what the server says only in the words that it leaves out."""
    text = summarize(error)
    if isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name:
        return f"{text}, the table has no partition for some of them"
    return text


async def _end_as_repeated(connection: asyncpg.Connection, load: FinishedLoad, earlier: int) -> Verdict:
    """The rows are in the table: nothing is added, and the dead letters are those of the load that has brought them."""
    verdict = await _repeated(connection, load.spec, earlier)
    await connection.execute(query("forget_all_dead_letters"), load.handle.load_id)
    await drop_staging(connection, load.handle.staging_table)
    await end_load(connection, load.handle, LoadState.REPEATED, verdict.note)
    return verdict


async def _repeated(connection: asyncpg.Connection, spec: TableSpec, earlier: int) -> Verdict:
    """The verdict on rows that an earlier load has appended: that load's own figures.

    Whether they are still in the table is for `verify` to say: old rows of a table that grows may have been deleted for good.
    """
    note = f"already appended by load {earlier}; nothing was added"
    totals = await read_chunk_totals(connection, earlier)
    balance = Check(
        CheckName.ROW_BALANCE,
        passed=not totals.unbalanced,
        summary=f"{totals.enqueued_rows} enqueued, {totals.written_rows} written; {note}",
        details={"appended by load": earlier},
    )
    fingerprint = Check(CheckName.FINGERPRINT, passed=True, summary=f"compared when load {earlier} was published")
    budget = budget_check(spec, totals.enqueued_rows, totals.dead_lettered_rows)
    return Verdict(totals, (balance, fingerprint, budget), None, note)


def _balance_with(checks: tuple[Check, ...], note: str, details: dict[str, int]) -> tuple[Check, ...]:
    """The checks, where that of the balance says more."""
    return tuple(
        replace(check, summary=f"{check.summary}; {note}", details={**check.details, **details})
        if check.name is CheckName.ROW_BALANCE
        else check
        for check in checks
    )


async def _already_judged(connection: asyncpg.Connection, load: FinishedLoad, settings: WriterSettings) -> Verdict:
    """The load is not loading any more: either our own COMMIT went through and its reply was lost, or we are fenced.

    That it is called published is not believed: what readers see is held against the plan as the staging table would be.
    """
    found = await connection.fetchrow(query("load_state"), load.handle.load_id)
    if found is None:
        raise DiscrepancyFound(f"{load.name}: load {load.handle.load_id} is gone from the ledger")
    state, epoch, verdict = tuple(found)
    if epoch != load.handle.epoch:
        state = None
    match state:
        case LoadState.PUBLISHED if load.spec.write_mode is WriteMode.REPLACE:
            totals, checks = await reconcile(
                connection,
                load.spec,
                load.target.columns,
                load.manifest,
                load_id=load.handle.load_id,
                staging=load.target.sql,
                predicate=partition_predicate(load.target, load.partition) or "true",
                fingerprint=settings.fingerprint,
            )
        case LoadState.REPEATED:
            earlier = await _read_repeated_load(connection, load.spec, load.partition, load.manifest)
            return await _repeated(connection, load.spec, load.handle.load_id if earlier is None else earlier)
        case LoadState.PUBLISHED:  # the table has other loads' rows too
            totals = await read_chunk_totals(connection, load.handle.load_id)
            (verification,) = await verify_published(connection, load.spec, load.target, [load.partition.key])
            budget = budget_check(load.spec, totals.enqueued_rows, totals.dead_lettered_rows)
            checks = (*verification.checks, budget)
        case LoadState.REJECTED:
            raise DiscrepancyFound(f"{load.name}: {verdict}")
        case _:
            raise Fenced(f"load {load.handle.load_id} is {found['state']}: another run has taken it over")
    if failed := "; ".join(f"{check.name}: {check.summary}" for check in checks if not check.passed):
        error = DiscrepancyFound(f"{load.name}: the ledger calls it published, but {failed}")
        return Verdict(totals, checks, error)
    return Verdict(totals, checks, None)
