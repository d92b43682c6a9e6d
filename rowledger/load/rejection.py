"""Reject a load, and record the reason: as its verdict, and as the reason why this attempt at its partition failed."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import asyncpg

from rowledger.errors import DatabaseUnavailable, DeadLetterBudgetSpent, Fenced, RowledgerError
from rowledger.ledger import (
    LoadState,
    RefusalCause,
    SupervisorSessions,
    end_load,
    forget_failed_attempts,
    ledger_session,
    reason_of,
    record_failed_attempt,
)
from rowledger.load.budget_explanation import explain_budget, read_refusals
from rowledger.load.request import RunRequest
from rowledger.postgres import query
from rowledger.publish import TooManySetAside
from rowledger.spec import LoadHandle, TableSpec

__all__ = ["forget_failures", "record_failed_run", "record_failure", "reject_load"]

_PATIENCE_S = 5.0  # the failure itself is reported in any case, and must not be delayed


async def reject_load(
    sessions: SupervisorSessions, spec: TableSpec, partition_key: str, handle: LoadHandle, refusal: RowledgerError
) -> tuple[RowledgerError, tuple[RefusalCause, ...], int]:
    """End a load that must be neither published nor resumed; one that is rejected already stays rejected.

    Returns the refusal as it is reported, the most frequent causes of dead letters where there were too many, and the
    number of dead letters that the ledger has.
    """

    async def reject(connection: asyncpg.Connection) -> tuple[RowledgerError, tuple[RefusalCause, ...], int]:
        is_loading = await connection.fetchval(query("lock_load"), handle.load_id, handle.epoch) is not None
        if is_loading and isinstance(refusal, TooManySetAside):
            await refusal.record(connection, handle)
        kept = int(await connection.fetchval(query("dead_letters_kept"), handle.load_id))
        told: RowledgerError = refusal
        causes: tuple[RefusalCause, ...] = ()
        if isinstance(refusal, DeadLetterBudgetSpent):
            plan = await connection.fetchrow(query("recorded_plan"), handle.load_id)
            causes = await read_refusals(connection, handle.load_id, partition_key)
            # The number of rows that the share allows is not known while a source still produces.
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
    """Record why an attempt failed. If recording fails, return a sentence about that, and the run continues."""
    if isinstance(error, Fenced):
        return None  # another run has the partition, and records the reason of its own attempt
    return await _try(
        sessions,
        "record a failed attempt",
        lambda connection: record_failed_attempt(connection, spec, partition_key, handle, run_id=run_id, error=error),
        otherwise="why the attempt failed is not in the ledger",
    )


async def forget_failures(sessions: SupervisorSessions, spec: TableSpec, partition_key: str) -> str | None:
    """Delete the reasons of earlier failures, for an attempt that may succeed without leaving a load.

    Returns what `record_failure` does.
    """
    return await _try(
        sessions,
        "forget failed attempts",
        lambda connection: forget_failed_attempts(connection, spec, partition_key),
        otherwise="an earlier failure is still in the ledger",
    )


async def _try(
    sessions: SupervisorSessions, doing: str, work: Callable[[asyncpg.Connection], Awaitable[None]], *, otherwise: str
) -> str | None:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await sessions.transaction(doing, work)
    except Exception as failure:  # noqa: BLE001 - this must not hide how the attempt itself has ended
        return f"{otherwise}: {reason_of(failure)}"
    return None


async def record_failed_run(request: RunRequest, error: RowledgerError) -> None:
    """Record why a run failed before it began any of its partitions, if the ledger can be reached."""
    if isinstance(error, DatabaseUnavailable):
        return
    recording = ledger_session(
        request.url, purpose="setup", doing="recording a failed attempt", writes=True, limits=request.writer
    )
    with contextlib.suppress(RowledgerError, TimeoutError):  # the run's own failure is reported in any case
        async with asyncio.timeout(_PATIENCE_S), recording as session, session.transaction():
            for partition in request.partitions:
                await record_failed_attempt(
                    session.connection, request.spec, partition.key, None, run_id=request.run_id, error=error
                )
