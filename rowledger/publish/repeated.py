"""Rows that an earlier load has already appended: nothing is added, and the verdict is on that load's rows."""

import shlex
from dataclasses import replace

import asyncpg

from rowledger.errors import DiscrepancyFound
from rowledger.ledger import (
    Check,
    CheckName,
    LoadState,
    SupervisorSessions,
    discard_staging,
    end_load,
    find_loading_load,
    read_chunk_totals,
    record_bounds_of_former,
    take_over_load,
    terminate_sessions,
)
from rowledger.postgres import Target, drop_staging, lock_target_against_writers, query
from rowledger.publish.finish_context import FinishContext, read_repeated_load
from rowledger.publish.reconcile import budget_check
from rowledger.publish.verdict import LoadVerdict
from rowledger.publish.verify import verify_partition
from rowledger.spec import Manifest, Partition, TableSpec, WriteMode

__all__ = ["end_as_repeated", "find_repeated", "judge_repeated"]


async def find_repeated(
    sessions: SupervisorSessions,
    spec: TableSpec,
    target: Target,
    partition: Partition,
    manifest: Manifest,
    *,
    run_id: str | None,
) -> LoadVerdict | None:
    """The verdict on rows that an earlier load has appended, before they are read a second time; None for other rows.

    A load that a dead run has begun meanwhile is ended, since no run would come back to it.
    """
    if spec.write_mode is not WriteMode.APPEND:
        return None

    async def look(connection: asyncpg.Connection) -> LoadVerdict | None:
        earlier = await read_repeated_load(connection, spec, partition, manifest)
        if earlier is None:
            return None
        await record_bounds_of_former(connection, str(spec.target), partition)
        await _abandon_unfinished(connection, spec, partition, earlier, run_id)
        return await judge_repeated(connection, spec, target, partition, manifest, earlier)

    return await sessions.transaction(f"table {spec.name}, partition {partition.key}: look for an earlier load", look)


async def _abandon_unfinished(
    connection: asyncpg.Connection, spec: TableSpec, partition: Partition, earlier: int, run_id: str | None
) -> None:
    """End the partition's unfinished load, unless a run is at work on it."""
    found = await find_loading_load(connection, str(spec.target), partition.key)
    if found is None:
        return
    lease = found.lease
    if lease is not None and (lease.has_session or await terminate_sessions(connection, lease.token)):
        return  # its run is at work, or this role may not end what is left of it
    if (mine := await take_over_load(connection, found.handle, partition, run_id)) is not None:
        why = f"the rows that the source has now were appended by load {earlier}"
        await end_load(connection, mine, LoadState.ABANDONED, why)
        await discard_staging(connection, mine.staging_table)


async def end_as_repeated(connection: asyncpg.Connection, load: FinishContext, earlier: int) -> LoadVerdict:
    """End the load without adding its rows, which are in the table. The earlier load's dead letters stand for them."""
    verdict = await judge_repeated(connection, load.spec, load.target, load.partition, load.manifest, earlier)
    await connection.execute(query("forget_all_dead_letters"), load.handle.load_id)
    await drop_staging(connection, load.handle.staging_table)
    await end_load(connection, load.handle, LoadState.REPEATED, verdict.note)
    return verdict


async def judge_repeated(
    connection: asyncpg.Connection,
    spec: TableSpec,
    target: Target,
    partition: Partition,
    manifest: Manifest,
    earlier: int,
) -> LoadVerdict:
    """The verdict on rows that an earlier load has appended: that load's figures, and whether the table still has the rows.

    It fails for a table that was truncated, dropped or restored since then.
    """
    note = f"already appended by load {earlier}; nothing was added"
    totals = await read_chunk_totals(connection, earlier)
    if totals.counts.enqueued_rows != manifest.enqueued_rows:
        raise DiscrepancyFound(
            f"table {spec.name}, partition {partition.key}: the ledger says that load {earlier} has appended these "
            f"rows, but it enqueued {totals.counts.enqueued_rows} and the source has {manifest.enqueued_rows}: the ledger was "
            "changed by hand. Restore the load's entry, or have the ledger no longer answer for it: "
            f"rowledger forget --table {spec.name}"
        )
    target = target.as_found
    verification = await verify_partition(connection, spec, target, partition)
    if not verification.passed and await connection.fetchval(query("may_lock_against_writers"), *target.name.parts):
        # Another load may have been published between the reads of ledger and table. The lock now excludes other
        # writers.
        await lock_target_against_writers(connection, target)
        verification = await verify_partition(connection, spec, target, partition)
    budget = budget_check(spec, totals.counts.enqueued_rows, totals.counts.dead_lettered_rows)
    own = f"{totals.counts.enqueued_rows} enqueued, {totals.counts.written_rows} written; {note}"
    checks = [
        replace(check, summary=f"{own}; {check.summary}", details={**check.details, "appended by load": earlier})
        if check.name is CheckName.ROW_BALANCE
        else check
        for check in verification.checks
    ]
    if all(check.name is not CheckName.FINGERPRINT for check in checks):
        summary = f"compared when load {earlier} was published"
        checks.append(Check(CheckName.FINGERPRINT, passed=True, summary=summary))
    error = None
    if failed := "; ".join(check.summary for check in verification.checks if not check.passed):
        error = DiscrepancyFound(
            f"table {spec.name}, partition {partition.key}: {note}, but the table is not what its loads add up to: {failed}. "
            "Restore its rows; or, if what is there is meant to be there, have these rows appended again: "
            f"rowledger forget --table {spec.name} --partition {shlex.quote(partition.key)}, then rerun"
        )
    return LoadVerdict(totals, (*checks, budget), error, note)
