"""What all partitions of a run share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.model.report import Observer
from pipeline.model.table import TableSpec
from pipeline.operations.control import Control
from pipeline.operations.upkeep import Tally, Upkeep
from pipeline.postgres.catalogue import Target
from pipeline.postgres.ledger import Holder
from pipeline.postgres.snapshots import OldSnapshots
from pipeline.settings import WriterSettings
from pipeline.workers.supervisor import Supervisor

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
    control: Control
    supervisor: Supervisor
    upkeep: Upkeep
    observer: Observer
    tallies: Mapping[str, Tally]
    old_snapshots: OldSnapshots
