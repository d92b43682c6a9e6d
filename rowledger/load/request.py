"""What one run is asked to load, from where, and how."""

from dataclasses import dataclass, field
from pathlib import Path

from rowledger.ledger import Observer
from rowledger.settings import WriterSettings
from rowledger.spec import Partition, TableSpec

__all__ = ["RunRequest"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The partitions of one table to load, each named once.

    `landing_dir` is what `{landing}` in the spec's paths stands for. `run_id` is Dagster's, where Dagster runs it.
    """

    spec: TableSpec
    partitions: tuple[Partition, ...]
    url: str = field(repr=False)  # may hold a password
    landing_dir: Path
    writer: WriterSettings
    run_id: str | None
    observer: Observer
