"""The pool of a run: on this machine, or on the hosts of an engine."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rowledger.errors import SpecError
from rowledger.ledger import Holder, Incident, SupervisorSessions
from rowledger.load.preflight import Preflight
from rowledger.load.production import needs_producer
from rowledger.load.request import RunRequest
from rowledger.machine import Host, in_thread
from rowledger.postgres import OutageGate
from rowledger.settings import WriterSettings
from rowledger.spec import TableSpec, modules_behind
from rowledger.workers import EarlyProcesses, Hello, IncidentRecorder, LoadPool, Pool

if TYPE_CHECKING:
    from rowledger.hosts import EarlyHosts

__all__ = ["RunStart", "pool_of"]

_READ_S = 120.0


@dataclass(frozen=True, slots=True)
class RunStart:
    """What a run has before its pool. The writer's settings in the request are those that `preflight` has left of `asked`.

    `early` processes, and agents of the `engine`, are coming up already; without an engine all is done on this machine.
    """

    request: RunRequest
    asked: WriterSettings
    preflight: Preflight
    holder: Holder
    early: EarlyProcesses
    engine: "EarlyHosts | None"
    spool_dir: Path


async def pool_of(
    start: RunStart,
    *,
    gate: OutageGate,
    watching: SupervisorSessions,
    incidents: IncidentRecorder,
    told: Callable[[Incident], None],
    ready: Callable[[], Awaitable[None]],
    jobs_expected: int,
) -> LoadPool:
    """The pool of a run.

    With an engine the local one only plans and produces. The chunks are committed by hosts, which judge what they can have of
    the settings that were asked for. They get chunks once the run is `ready`; their incidents are `told`.
    """
    request, holder, engine = start.request, start.holder, start.engine
    spec, writer, log = request.spec, request.writer, request.observer.log
    hello = Hello.of(spec, url=request.url, settings=writer, holder=holder.token.hex, host=holder.host)
    local = Pool(
        hello,
        gate=gate,
        notice=incidents.record,
        log=log,
        jobs_expected=jobs_expected if engine is None else 0,
        production_expected=needs_producer(spec, request.partitions, request.landing_dir),
        early=start.early,
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
        settings=start.asked,
        url_variable=writer.hosts_url_variable,
        workers_first=1,
        silent_s=writer.host_silent_s,
        versions=code_versions(),
        contract=contract_digest(spec),
        modules=await _modules(spec),
    )
    return HostPool(
        local,
        engine,
        Sharing(order, start.preflight.share.workers, start.spool_dir),
        writer,
        gate=gate,
        losses=HostLosses(watching, incidents, holder, log=log),
        told=told,
        log=log,
        ready=ready,
    )


async def _modules(spec: TableSpec) -> dict[str, str]:
    try:
        return await in_thread(lambda: modules_behind(spec), timeout_s=_READ_S)
    except TimeoutError:
        raise SpecError(
            f"table {spec.name}: the modules behind its rows could not be read within {_READ_S:g} s, for hosts to compare them"
        ) from None
