"""What one run is asked to load, from where, and how."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rowledger.ledger import Observer, RivalRemedy
from rowledger.settings import WriterSettings
from rowledger.spec import Partition, TableSpec

__all__ = ["RunRequest"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The partitions of one table to load, each named once.

    `landing_dir` replaces `{landing}` in the spec's paths. `run_id` and `asset_key`, the parts of the asset's key, are
    Dagster's, or None without Dagster; `rival_remedy` knows Dagster's other assets.
    `rows` makes the rows of a partition, for a source that takes them from the load. It is called once for each partition.
    """

    spec: TableSpec
    partitions: tuple[Partition, ...]
    url: str = field(repr=False)  # may contain a password
    landing_dir: Path
    writer: WriterSettings
    run_id: str | None
    observer: Observer
    rows: Callable[[Partition], object] | None = None
    asset_key: tuple[str, ...] | None = None
    rival_remedy: RivalRemedy | None = None
