"""The pool of a run: on this machine, or on the hosts of an engine."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rowledger.ledger import Holder, Incident, SupervisorSessions
from rowledger.load.request import RunRequest
from rowledger.machine import Host
from rowledger.postgres import OutageGate
from rowledger.settings import WriterSettings
from rowledger.spec import modules_behind
from rowledger.workers import EarlyProcesses, Hello, IncidentRecorder, LoadPool, Pool

if TYPE_CHECKING:
    from rowledger.hosts import EarlyHosts

__all__ = ["pool_of"]


def pool_of(
    request: RunRequest,
    hello: Hello,
    asked: WriterSettings,
    *,
    engine: "EarlyHosts | None",
    connections_max: int,
    gate: OutageGate,
    incidents: IncidentRecorder,
    watching: SupervisorSessions,
    holder: Holder,
    told: Callable[[Incident], None],
    ready: Callable[[], Awaitable[None]],
    spool_dir: Path,
    jobs_expected: int,
    production_expected: bool,
    early: EarlyProcesses,
) -> LoadPool:
    """The pool of a run.

    With an engine the local one only plans and produces. The chunks are committed by hosts, which judge what they can have of
    the settings that were `asked` for.
    """
    log = request.observer.log
    local = Pool(
        hello,
        gate=gate,
        notice=incidents.record,
        log=log,
        jobs_expected=jobs_expected if engine is None else 0,
        production_expected=production_expected,
        early=early,
    )
    if engine is None:
        return local
    from rowledger.hosts import HostLosses, HostPool, Open, Sharing, code_versions, contract_digest  # noqa: PLC0415

    order = Open(
        holder=hello.holder,
        run_id=request.run_id,
        host=Host.this(),
        spec=hello.spec,
        path=hello.path,
        settings=asked,
        url_variable=request.writer.hosts_url_variable,
        workers_max=1,
        silent_s=request.writer.host_silent_s,
        versions=code_versions(),
        contract=contract_digest(request.spec),
        modules=modules_behind(request.spec),
    )
    return HostPool(
        local,
        engine,
        Sharing(order, connections_max, spool_dir),
        request.writer,
        gate=gate,
        losses=HostLosses(watching, incidents, holder, log=log),
        told=told,
        log=log,
        ready=ready,
    )
