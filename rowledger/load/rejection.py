"""Refuse a load, and keep in the ledger why: as its verdict, and as the reason why this attempt at its partition failed."""

import asyncio
import contextlib

import asyncpg

from rowledger.errors import DatabaseUnavailable, DeadLetterBudgetSpent, Fenced, RowledgerError
from rowledger.ledger import (
    LoadState,
    Refusals,
    SupervisorSessions,
    end_load,
    forget_failed_attempts,
    ledger_session,
    reason_of,
    record_failed_attempt,
)
from rowledger.load.refusals import explain_budget, read_refusals
from rowledger.load.request import RunRequest
from rowledger.postgres import query
from rowledger.publish import TooManySetAside
from rowledger.spec import LoadHandle, TableSpec

__all__ = ["forget_failures", "record_failed_run", "record_failure", "reject_load"]

_PATIENCE_S = 5.0  # the failure itself is told in any case, and must not be held up


async def reject_load(
    sessions: SupervisorSessions, spec: TableSpec, partition_key: str, handle: LoadHandle, refusal: RowledgerError
) -> tuple[RowledgerError, tuple[Refusals, ...], int]:
    """End a load that must not be published or resumed; one that has been rejected already stays so.

    Returns the refusal as it is to be told, the most frequent causes of its dead letters where these were too many, and how
    many of these are kept.
    """

    async def reject(connection: asyncpg.Connection) -> tuple[RowledgerError, tuple[Refusals, ...], int]:
        is_loading = await connection.fetchval(query("lock_load"), handle.load_id, handle.epoch) is not None
        if is_loading and isinstance(refusal, TooManySetAside):
            await refusal.record(connection, handle)
        kept = int(await connection.fetchval(query("dead_letters_kept"), handle.load_id))
        told: RowledgerError = refusal
        causes: tuple[Refusals, ...] = ()
        if isinstance(refusal, DeadLetterBudgetSpent):
            plan = await connection.fetchrow(query("recorded_plan"), handle.load_id)
            causes = await read_refusals(connection, handle.load_id)
            # How many rows the share allows is not known while a source still produces.
            rows_max = f"rows_max {spec.dead_letters.rows_max}"
            budget = spec.dead_letters.told(plan["enqueued_rows"]) if plan and plan["sealed"] else rows_max
            told = explain_budget(spec, partition_key, refusal, causes, kept=kept, budget=budget)
        if is_loading:
            await end_load(connection, handle, LoadState.REJECTED, str(told))
        return told, causes, kept

    return await sessions.transaction(f"load {handle.load_id}: reject", reject)


async def record_failure(
    sessions: SupervisorSessions,
    spec: TableSpec,
    partition_key: str,
    handle: LoadHandle | None,
    *,
    run_id: str | None,
    error: Exception,
) -> str | None:
    """Keep in the ledger why an attempt failed. Returns what went wrong with that, if anything did: the run goes on."""
    if isinstance(error, Fenced):
        return None  # the partition is another run's, which keeps the reason of its own attempt

    try:
        async with asyncio.timeout(_PATIENCE_S):
            await sessions.transaction(
                "record a failed attempt",
                lambda connection: record_failed_attempt(
                    connection, spec, partition_key, handle, run_id=run_id, error=error
                ),
            )
    except Exception as failure:  # noqa: BLE001 - the attempt's own failure must not be hidden by this
        return f"why the attempt failed is not in the ledger: {reason_of(failure)}"
    return None


async def forget_failures(sessions: SupervisorSessions, spec: TableSpec, partition_key: str) -> str | None:
    """Forget why earlier attempts failed, as one has succeeded that may leave no load behind; otherwise as `record_failure`."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await sessions.transaction(
                "forget failed attempts",
                lambda connection: forget_failed_attempts(connection, spec, partition_key),
            )
    except Exception as failure:  # noqa: BLE001 - the attempt has succeeded
        return f"an earlier failure is still in the ledger: {reason_of(failure)}"
    return None


async def record_failed_run(request: RunRequest, error: RowledgerError) -> None:
    """Keep why a run failed before it began with any of its partitions, if the ledger can be reached at all."""
    if isinstance(error, DatabaseUnavailable):
        return
    recording = ledger_session(
        request.url, purpose="setup", doing="recording a failed attempt", writes=True, limits=request.writer
    )
    with contextlib.suppress(RowledgerError, TimeoutError):  # the run's own failure is told in any case
        async with asyncio.timeout(_PATIENCE_S), recording as session, session.transaction():
            for partition in request.partitions:
                await record_failed_attempt(
                    session.connection, request.spec, partition.key, None, run_id=request.run_id, error=error
                )
