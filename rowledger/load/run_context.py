"""What all partitions of a run share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rowledger.ledger import Holder, Observer, SupervisorSessions
from rowledger.load.progress import PartitionProgress
from rowledger.postgres import OldSnapshots, Target
from rowledger.settings import WriterSettings
from rowledger.spec import TableSpec
from rowledger.workers import IncidentRecorder, Pool

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
    pool: Pool
    incidents: IncidentRecorder
    observer: Observer
    progress: Mapping[str, PartitionProgress]
    old_snapshots: OldSnapshots
