"""Checks before a run begins: the server, the ledger, the target, and the resources for its workers."""

import logging
from dataclasses import dataclass

import asyncpg

from rowledger.contract import Contract, check_spec
from rowledger.counted import counted
from rowledger.errors import ConnectionsExhausted, DiscrepancyFound, NotEnoughSpace, StandbyMissing, TargetMismatch
from rowledger.ledger import (
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
from rowledger.load.request import RunRequest
from rowledger.machine import require_free_space
from rowledger.postgres import (
    Target,
    check_server,
    ensure_target,
    is_connection_lost,
    limit_lock_waits,
    may_retry,
    query,
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
_OWN_SESSIONS = 1  # for leases and incidents
_OF_A_HOST = 2  # of its agent for incidents, and of a worker
_COMES_BY_ITSELF = ("53300", "57P03")  # too_many_connections, cannot_connect_now


@dataclass(frozen=True, slots=True)
class Preflight:
    """A run may begin: into this target, with these settings, after these limitations."""

    target: Target
    writer: WriterSettings
    limited: tuple[tuple[IncidentKind, str], ...]
    host_connections_max: int = 0
    """Connections that the agents and workers of other hosts may have, all together."""


async def check_before_loading(request: RunRequest) -> Preflight:
    """Create ledger and target where they are missing, drop staging tables of ended loads, and size the pool.

    The spec is checked first, and recorded in the ledger at the end.

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
        async with server_session(request.url, purpose="setup", doing=doing, limits=writer) as session:
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
            fitted, limited, host_connections_max = await _fit(connection, writer)
            await record_spec(connection, spec, asset_key=request.asset_key)
            return Preflight(target, fitted, limited, host_connections_max)

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
    if isinstance(error, ConnectionsExhausted | StandbyMissing) or sqlstate_of(root_cause(error)) in _COMES_BY_ITSELF:
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


async def _fit(
    connection: asyncpg.Connection, writer: WriterSettings
) -> tuple[WriterSettings, tuple[tuple[IncidentKind, str], ...], int]:
    """Reduce the workers to what memory and the server's connections allow, and name each limitation.

    Where chunks are committed on other hosts, one worker here plans, and the third value is what is left for the hosts.
    """
    limited: list[tuple[IncidentKind, str]] = []
    is_local = writer.engine == "local"
    workers = writer.workers or default_workers() if is_local else 1
    if (carried := workers_in_memory(writer)) < workers:
        limited.append(
            (IncidentKind.WORKERS_LIMITED, f"{carried} workers instead of {workers}: memory carries no more")
        )
        workers = carried
    free = await connection.fetchval(query("free_connections"), writer.connections_spare_min)
    free += 1  # this session's, which closes
    left = free - _OWN_SESSIONS
    if left < 2:  # noqa: PLR2004 - a worker, and a session that begins and publishes
        raise ConnectionsExhausted(
            f"{counted(max(0, free), 'connection')} left to this role, with {writer.connections_spare_min} to stay free "
            f"(connections_spare_min), and a run needs {_OWN_SESSIONS + 2}; end idle sessions, or raise the limit of the "
            "server, the database or the role"
        )
    if left - 1 < workers:
        limited.append(
            (
                IncidentKind.CONNECTIONS_LIMITED,
                f"{left - 1} workers instead of {workers}: {counted(free, 'connection')} left",
            )
        )
        workers = left - 1
    for_hosts = 0 if is_local else _OF_A_HOST
    in_flight = max(1, min(writer.partitions_in_flight, left - workers - for_hosts))
    if not is_local and (for_hosts := left - workers - in_flight) < _OF_A_HOST:
        raise ConnectionsExhausted(
            f"{counted(free, 'connection')} left to this role, with {writer.connections_spare_min} to stay free "
            f"(connections_spare_min), and a run on other hosts needs {_OWN_SESSIONS + 2 + _OF_A_HOST}; end idle sessions, or "
            "raise the limit of the server, the database or the role"
        )
    fitted = writer.model_copy(update={"workers": workers, "partitions_in_flight": in_flight})
    return fitted, tuple(limited), for_hosts
