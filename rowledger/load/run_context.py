"""What all partitions of a run share."""

from collections.abc import Mapping
from dataclasses import dataclass

from rowledger.ledger import Holder, SupervisorSessions
from rowledger.load.progress import PartitionProgress
from rowledger.load.request import RunRequest
from rowledger.postgres import OldSnapshots, Target
from rowledger.spec import Partition
from rowledger.workers import IncidentRecorder, LoadPool

__all__ = ["RunContext"]


@dataclass(frozen=True, slots=True)
class RunContext:
    """The parts of a run, made once.

    `request` has as many workers as there are resources for; `signature` is that of the row model.
    """

    request: RunRequest
    target: Target
    holder: Holder
    sessions: SupervisorSessions
    pool: LoadPool
    incidents: IncidentRecorder
    progress: Mapping[str, PartitionProgress]
    old_snapshots: OldSnapshots
    signature: str

    def name_of(self, partition: Partition) -> str:
        """A partition of the table, for logs and errors."""
        return f"table {self.request.spec.name}, partition {partition.key}"
