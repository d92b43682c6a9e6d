"""What all partitions of a run share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rowledger.ledger.loads import Holder
from rowledger.ledger.reports import Observer
from rowledger.ledger.sessions import SupervisorSessions
from rowledger.load.upkeep import Tally, Upkeep
from rowledger.postgres.catalogue import Target
from rowledger.postgres.snapshots import OldSnapshots
from rowledger.settings import WriterSettings
from rowledger.spec.table import TableSpec
from rowledger.workers.supervisor import Supervisor

__all__ = ["RunContext"]


@dataclass(frozen=True, slots=True)
class RunContext:
    """A run's parts, made once."""

    spec: TableSpec
    target: Target
    landing_dir: Path
    writer: WriterSettings
    holder: Holder
    run_id: str | None
    sessions: SupervisorSessions
    supervisor: Supervisor
    upkeep: Upkeep
    observer: Observer
    tallies: Mapping[str, Tally]
    old_snapshots: OldSnapshots
