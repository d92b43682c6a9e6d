"""Checks before a run begins: the server, the ledger, the target, and the resources for its workers."""

import logging
from dataclasses import dataclass

import asyncpg

from rowledger.contract import Contract, check_spec
from rowledger.counted import counted
from rowledger.errors import DiscrepancyFound, NotEnoughSpace, StandbyMissing, TargetMismatch
from rowledger.ledger import (
    Holder,
    Incident,
    IncidentKind,
    ensure_ledger,
    read_changed_entries,
    record_incident,
    record_spec,
    require_own_name,
    require_own_table,
    require_own_target,
    require_to_load,
    sweep_staging,
)
from rowledger.load.connection_share import ConnectionShare, NoPlaceToWait, Wish
from rowledger.load.request import RunRequest
from rowledger.machine import Host, require_free_space
from rowledger.postgres import (
    Session,
    Target,
    check_server,
    ensure_target,
    is_connection_lost,
    limit_lock_waits,
    may_retry,
    remedy,
    retrying,
    root_cause,
    server_session,
    sqlstate_of,
    summarize,
    type_change,
)
from rowledger.settings import WriterSettings, settings
from rowledger.spec import TableSpec, WriteMode
from rowledger.workers import default_workers, workers_in_memory

__all__ = ["Preflight", "check_before_loading", "require_writable"]

_ENTRIES_NAMED = 5
_OF_A_HOST = 2  # of its agent for incidents, and of a worker
_WORKERS_OF_A_HOST = 8  # the most that a host has by default
_COMES_BY_ITSELF = ("53300", "57P03")  # too_many_connections, cannot_connect_now


@dataclass(frozen=True, slots=True)
class Preflight:
    """A run may begin: into this target, with these settings, after these limitations.

    It has its `share` of the server's connections, claimed by an open `session`, which the caller closes.
    """

    target: Target
    writer: WriterSettings
    limited: tuple[tuple[IncidentKind, str], ...]
    share: ConnectionShare
    session: Session


async def check_before_loading(request: RunRequest, holder: Holder) -> Preflight:
    """Create ledger and target where they are missing, drop staging tables of ended loads, and claim connections for the pool.

    The spec is checked first, and recorded in the ledger before the run waits for connections.

    Raises SpecError, NotEnoughSpace, TargetMismatch, UnsupportedServer, and DatabaseUnavailable. The last is raised
    at once for a server that cannot be reached or refuses the role, and after `retry_budget_s` for one that is
    starting up, has no connection left or lacks its synchronous standby.
    """
    spec, writer = request.spec, request.writer
    contract = Contract.of(spec.row)
    check_spec(spec)
    reached = False

    def say(text: str) -> None:
        request.observer.log(logging.WARNING, text)

    async def look() -> Preflight:
        nonlocal reached
        doing = f"table {spec.name}: preparing {spec.target}"
        async with server_session(
            request.url,
            purpose="setup",
            doing=doing,
            limits=writer,
            wait_s=writer.retry_budget_s + writer.chunk_deadline_s,
        ) as session:
            reached = True
            connection = session.connection
            await check_server(session.session)
            await require_to_load(connection, spec, list(contract.columns), request.partitions)
            await ensure_ledger(connection, wait_s=writer.busy_wait_s)
            await require_own_name(connection, spec, asset_key=request.asset_key)
            await require_own_table(connection, spec, asset_key=request.asset_key, rival_remedy=request.rival_remedy)
            await require_own_target(connection, spec)
            await _require_entries_as_written(connection, spec)
            # The COMMIT of the load that begins next is durable, and makes this durable too.
            await connection.execute("set synchronous_commit = off")
            await _require_space(connection, request)
            await limit_lock_waits(connection, writer.lock_timeout_s)
            target = await ensure_target(connection, spec, contract.columns, request.partitions)
            require_writable(contract, target, spec)
            for told in await sweep_staging(connection):
                say(told)
            await record_spec(connection, spec, asset_key=request.asset_key)
            wish, limited = _wish(writer, len(request.partitions))
            share = ConnectionShare(holder.token.hex, writer, wish)
            found = await share.obtain(connection, say)
            if writer.engine == "local" and share.workers < wish.workers:
                told = f"{counted(share.workers, 'worker')} instead of {wish.workers}: {found}"
                limited += ((IncidentKind.CONNECTIONS_LIMITED, told),)
            fitted = writer.model_copy(update={"workers": share.workers if writer.engine == "local" else 1})
            return Preflight(target, fitted, limited, share, session.keep())

    # Wait for a server that has answered before; one that never answered may be a wrong URL.
    policy = retrying(
        writer,
        on_retry=lambda error: say(f"cannot begin yet: {summarize(root_cause(error))}; trying again"),
        retry_if=lambda error: _comes_by_itself(error) or (reached and may_retry(error)),
    )
    preflight: Preflight = await policy(look)
    return preflight


def require_writable(contract: Contract, target: Target, spec: TableSpec) -> None:
    """Raise TargetMismatch, with the statements that change them, for columns whose type cannot hold the contract's values."""
    types = target.column_types
    try:
        contract.require_writable(types)
    except TargetMismatch as mismatch:
        changes = [type_change(column, types[column.name]) for column in contract.misfits(types)]
        raise TargetMismatch(f"target table {spec.target}: {mismatch}. {remedy(spec.target, changes)}") from None


def _comes_by_itself(error: BaseException) -> bool:
    """Whether a server that answers may accept later what it refuses now."""
    if isinstance(error, NoPlaceToWait | StandbyMissing) or sqlstate_of(root_cause(error)) in _COMES_BY_ITSELF:
        return True
    return may_retry(error) and not is_connection_lost(error)


async def _require_entries_as_written(connection: asyncpg.Connection, spec: TableSpec) -> None:
    """Raise DiscrepancyFound for edited entries that an append or an upsert relies on.

    These say which rows an earlier load has brought, and what the table's loads add up to.
    """
    if spec.write_mode is WriteMode.REPLACE:
        return  # a replacement does not rely on the loads that it replaces
    if changed := await read_changed_entries(connection, spec):
        named = ", ".join(map(str, changed[:_ENTRIES_NAMED]))
        more = f" and {len(changed) - _ENTRIES_NAMED} more" if len(changed) > _ENTRIES_NAMED else ""
        raise DiscrepancyFound(
            f"table {spec.name}: the ledger's entries of {named}{more} were changed by hand since Rowledger wrote "
            f"them, and write mode {spec.write_mode} goes by them; nothing was written. Restore them; or, if the "
            "table's rows are meant to be as they are, have the ledger no longer answer for them: "
            f"rowledger forget --table {spec.name}, after which an append adds rows that it has added before"
        )


async def _require_space(connection: asyncpg.Connection, request: RunRequest) -> None:
    """Raise NotEnoughSpace where the local disk lacks room for the run's log and its spooled rows."""
    try:
        require_free_space(request.landing_dir, settings().disk_free_min_bytes)
    except NotEnoughSpace as shortage:
        incident = Incident.of_run(IncidentKind.FREE_DISK, str(shortage))
        await record_incident(connection, incident, load_id=None, run_id=request.run_id)
        raise


def _wish(writer: WriterSettings, partitions: int) -> tuple[Wish, tuple[tuple[IncidentKind, str], ...]]:
    """What the run wants of the server's connections: no more workers than memory carries, named where that limits them.

    Where chunks are committed on other hosts, one worker here plans. How many hosts there will be is not known yet.
    """
    sessions = min(writer.partitions_in_flight, partitions)
    if writer.engine != "local":
        of_hosts = (writer.hosts or Host.NUMBER_MAX) * (1 + (writer.workers or _WORKERS_OF_A_HOST))
        least = 1 + _OF_A_HOST
        told_as = {"unit": "worker connection", "runner": "a run on other hosts"}
        return Wish(1 + of_hosts, sessions, workers_min=least, workers_first=least, **told_as), ()
    workers = writer.workers or default_workers()
    if (carried := workers_in_memory(writer)) >= workers:
        return Wish(workers, sessions), ()
    told = f"{carried} workers instead of {workers}: memory carries no more"
    return Wish(carried, sessions), ((IncidentKind.WORKERS_LIMITED, told),)
