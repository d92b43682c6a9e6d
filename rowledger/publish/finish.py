"""Finish a load: set aside what cannot be published, build the key, reconcile, and publish or reject the rows.

Reconciling and publishing are one transaction. The staging table cannot change between the two, and only the last
statements of the transaction lock the target.
"""

from dataclasses import replace

import asyncpg

from rowledger.counted import counted
from rowledger.errors import (
    DeadLetterBudgetSpent,
    DiscrepancyFound,
    Fenced,
    MissingPrivilege,
    TargetMismatch,
)
from rowledger.failpoints import Place, async_failpoint
from rowledger.ledger import (
    Check,
    CheckName,
    ChunkTotals,
    LoadState,
    SupervisorSessions,
    end_load,
    read_chunk_totals,
    require_own_target,
)
from rowledger.postgres import (
    LEDGER_SCHEMA,
    add_columns,
    create_partition_statement,
    has_key,
    is_raised,
    lock_staging,
    may_be_about_rows,
    may_retry,
    partition_predicate,
    query,
    quoted,
    read_staging_changes,
    summarize,
    with_numbers,
)
from rowledger.publish.finish_context import ChunksPending, FinishContext, read_repeated_load, require_all_committed
from rowledger.publish.former_loads import require_not_appended_before
from rowledger.publish.reconcile import budget_check, reconcile
from rowledger.publish.rehearsal import set_refused_aside
from rowledger.publish.repeated import end_as_repeated, judge_repeated
from rowledger.publish.sift import sift_conflicts
from rowledger.publish.verdict import LoadVerdict
from rowledger.publish.verify import verify_partition
from rowledger.publish.write_modes import publish_rows
from rowledger.spec import ChunkPlan, Drift, WriteMode, column_names

__all__ = ["finish_load"]


_ATTEMPTS_MAX = 3  # each for rows that collide with rows which another session has added meanwhile


class _NotTaken(Exception):
    """The target does not accept the rows; the text says why, without their values."""


class _RowsRefused(_NotTaken):
    """The target refuses a statement because of one of its rows, which is not known yet."""


class _Collided(_RowsRefused):
    """Since the conflicts were looked for, another session has added rows with the same key or unique values."""


async def finish_load(sessions: SupervisorSessions, load: FinishContext) -> LoadVerdict | tuple[ChunkPlan, ...]:
    """Judge the load by what the database holds, and publish it if every check passes.

    Returns the pending chunks instead of a verdict where there are any; none of them where the key is gone.
    """
    try:
        return await _finish(sessions, load)
    except ChunksPending as found:
        return found.chunks
    except _NotTaken as refusal:
        why = str(refusal)
        raise await sessions.transaction(
            f"{load.name}: look why", lambda connection: _explain(connection, load, why)
        ) from None


async def _explain(connection: asyncpg.Connection, load: FinishContext, why: str) -> TargetMismatch:
    """The error that says why the rows are not accepted, with what the catalogue says of the target now."""
    target = load.target
    if await connection.fetchval("select to_regclass($1)::oid", quoted(*target.name.parts)) != target.oid:
        return TargetMismatch(
            f"{load.name}: target {target.name} was dropped, renamed or made anew since the run began; the partition was not "
            "published; rerun"
        )
    acting = ", ".join(row[0] for row in await connection.fetch(query("acts_on_rows"), target.oid))
    told = f" (triggers and rules on its rows: {acting})" if acting else ""
    return TargetMismatch(
        f"{load.name}: target {load.spec.target} does not take the rows: {why}{told}. Alter the table or the row model; "
        "the partition was not published; then rerun."
    )


async def _finish(sessions: SupervisorSessions, load: FinishContext) -> LoadVerdict:
    for attempt in range(1, _ATTEMPTS_MAX + 1):
        await sift_conflicts(sessions, load)
        await async_failpoint(Place.BEFORE_RECONCILE, **load.facts)
        try:
            verdict = await sessions.transaction(
                f"{load.name}: reconcile and publish",
                lambda connection: _judge(connection, load),
                durable=True,
                lock_timeout_s=load.settings.publish_lock_timeout_s,
                first=with_numbers("lock_load", load.handle.load_id, load.handle.epoch),
            )
            break
        except _RowsRefused as refusal:
            if attempt == _ATTEMPTS_MAX:
                raise
            if isinstance(refusal, _Collided) and attempt == 1:
                load.say("others have added rows like these meanwhile; looking for them again")
                continue
            load.say("the target refuses some of the rows; looking for them")
            rehearsed = await sessions.transaction(
                f"{load.name}: look for rows that the target refuses",
                lambda connection: set_refused_aside(connection, load),
                durable=True,
            )
            if rehearsed.rows:
                load.say(f"{rehearsed.rows} row(s) {rehearsed.why} and become dead letters")
            elif not isinstance(refusal, _Collided):
                raise
    if verdict.note:
        load.say(f"{verdict.note}")
    return verdict


async def _judge(connection: asyncpg.Connection, load: FinishContext) -> LoadVerdict:
    handle, spec = load.handle, load.spec
    if not await require_all_committed(connection, load):  # the load's row is locked since BEGIN, if this run owns it
        return await _already_judged(connection, load)
    await lock_staging(connection, handle)
    if spec.key and not await has_key(connection, handle):
        raise ChunksPending(())  # the key was dropped since it was built: build it again, or never publish
    if changes := await read_staging_changes(connection, load.target, handle, load.partition, column_names(spec.row)):
        raise DiscrepancyFound(
            f"{load.name}: the staging table is not what this load has made ({changes}); something else alters tables of "
            f"schema {LEDGER_SCHEMA}. The partition was not published; rerun, which begins a new load"
        )
    await async_failpoint(Place.IN_RECONCILE, **load.facts)
    totals, checks = await reconcile(connection, load, quoted(LEDGER_SCHEMA, handle.staging_table))
    failed = [check for check in checks if not check.passed]
    if failed:
        reason = "; ".join(f"{check.name}: {check.summary}" for check in failed)
        await end_load(connection, handle, LoadState.REJECTED, reason)
        only_budget = all(check.name is CheckName.DEAD_LETTER_BUDGET for check in failed)
        kind = DeadLetterBudgetSpent if only_budget else DiscrepancyFound
        return LoadVerdict(totals, checks, kind(f"{load.name}: {reason}"))
    await async_failpoint(Place.BEFORE_PUBLISH, **load.facts)
    return await _publish(connection, load, totals, checks)


async def _publish(
    connection: asyncpg.Connection,
    load: FinishContext,
    totals: ChunkTotals,
    checks: tuple[Check, ...],
) -> LoadVerdict:
    # Once more: the other table may have been published since this run began.
    await require_own_target(connection, load.spec, load.partition.key)
    if (earlier := await read_repeated_load(connection, load.spec, load.partition, load.manifest)) is not None:
        return await end_as_repeated(connection, load, earlier)
    if load.spec.write_mode is WriteMode.APPEND:
        await require_not_appended_before(connection, load.spec, load.partition, load.manifest, load.handle.load_id)
    try:
        if load.spec.drift is Drift.EVOLVE:
            await add_columns(connection, load.target, load.handle)
        published = await publish_rows(connection, load, totals)
    except asyncpg.PostgresError as error:
        if may_retry(error) and not is_raised(error):
            raise
        if isinstance(error, asyncpg.InsufficientPrivilegeError) and not is_raised(error):
            raise MissingPrivilege(
                f"{load.name}: this role lacks a privilege that publishing into {load.spec.target} takes ({summarize(error)}); "
                "the partition was not published. It was revoked since the run began, or a trigger or function of the table "
                "needs it: grant it, then rerun"
            ) from None
        if error.server_source_function == "ExecFindPartition" and not load.target.is_ours:
            _require_partition(load)
        refused = _RowsRefused if may_be_about_rows(error) else _NotTaken
        kind = _Collided if isinstance(error, asyncpg.UniqueViolationError) else refused
        raise kind(summarize(error)) from None  # without its cause, whose text may quote a row
    await async_failpoint(Place.IN_PUBLISH, **load.facts)
    await end_load(connection, load.handle, LoadState.PUBLISHED, "every check passed")
    if load.spec.write_mode is not WriteMode.UPSERT:
        return LoadVerdict(totals, checks, None, published.note)
    counts = {"rows inserted": published.inserted_rows, "rows updated": published.updated_rows}
    note = f"{counted(published.inserted_rows, 'row')} inserted, {published.updated_rows} updated"
    return LoadVerdict(totals, _balance_with(checks, note, counts), None, note)


def _require_partition(load: FinishContext) -> None:
    """Raise MissingPrivilege where the table has no partition for these rows, and belongs to another role."""
    target = load.target
    if target.is_divided_like(load.partition):
        statement = create_partition_statement(target, load.partition)
        raise MissingPrivilege(
            f"{load.name}: target {target.name} has no partition for these rows, and this role may not create one; nothing was "
            f"published. As the owner run: {statement}; then rerun",
            statements=[statement],
        ) from None


def _balance_with(checks: tuple[Check, ...], note: str, details: dict[str, int]) -> tuple[Check, ...]:
    """The checks, with a note and details added to the balance."""
    return tuple(
        replace(check, summary=f"{check.summary}; {note}", details={**check.details, **details})
        if check.name is CheckName.ROW_BALANCE
        else check
        for check in checks
    )


async def _already_judged(connection: asyncpg.Connection, load: FinishContext) -> LoadVerdict:
    """Judge a load that is no longer loading: its COMMIT succeeded and the reply was lost, or this run is fenced.

    The state `published` alone does not suffice: what readers see is compared with the plan, as the staging table
    would be.
    """
    found = await connection.fetchrow(query("load_state"), load.handle.load_id)
    if found is None:
        raise DiscrepancyFound(f"{load.name}: load {load.handle.load_id} is gone from the ledger")
    state, epoch, verdict = tuple(found)
    if epoch != load.handle.epoch:
        state = None
    match state:
        case LoadState.PUBLISHED if load.spec.write_mode is WriteMode.REPLACE:
            predicate = partition_predicate(load.target, load.partition)
            totals, checks = await reconcile(connection, load, load.target.sql, predicate=predicate)
        case LoadState.REPEATED:
            earlier = await read_repeated_load(connection, load.spec, load.partition, load.manifest)
            if earlier is None:
                raise DiscrepancyFound(f"{load.name}: the load that had appended these rows is forgotten; rerun")
            return await judge_repeated(connection, load.spec, load.target, load.partition, load.manifest, earlier)
        case LoadState.PUBLISHED:  # the table has other loads' rows too
            totals = await read_chunk_totals(connection, load.handle.load_id)
            verification = await verify_partition(connection, load.spec, load.target, load.partition)
            budget = budget_check(load.spec, totals.counts.enqueued_rows, totals.counts.dead_lettered_rows)
            checks = (*verification.checks, budget)
        case LoadState.REJECTED:
            raise DiscrepancyFound(
                f"{load.name}: {verdict or f'the ledger calls load {load.handle.load_id} rejected; rerun'}"
            )
        case _:
            raise Fenced(f"load {load.handle.load_id} is {found['state']}: another run has taken it over")
    if failed := "; ".join(f"{check.name}: {check.summary}" for check in checks if not check.passed):
        error = DiscrepancyFound(f"{load.name}: the ledger calls it published, but {failed}")
        return LoadVerdict(totals, checks, error)
    return LoadVerdict(totals, checks, None)
