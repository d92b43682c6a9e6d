"""What the ledger records of a partition: what readers see of it now, and how the latest attempt at it went."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rowledger.ledger.counts import RowCounts

__all__ = ["Attempt", "AttemptState", "PartitionStatus", "PublishedRows"]


class AttemptState(StrEnum):
    """The state of the latest attempt at a partition."""

    PUBLISHED = "published"
    LOADING = "loading"  # a run works on it
    FAILED = "failed"  # a run gave up; a load that it had begun can be resumed
    INTERRUPTED = "interrupted"  # the run was killed or cancelled; a rerun resumes
    REJECTED = "rejected"  # reconcile or a budget refused it
    ABANDONED = "abandoned"  # the source changed before the load finished
    FORGOTTEN = "forgotten"  # published, then forgotten by hand


@dataclass(frozen=True, slots=True)
class PublishedRows:
    """What readers see: sums over the partition's published loads, of which there are several where loads add up.

    `load_id`, `published_at` and `run_id` are those of the last load.
    """

    loads: int
    load_id: int
    published_at: datetime
    run_id: str | None
    counts: RowCounts
    updated_rows: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """The latest attempt: a load, or a run that failed before it began one (`load_id` is None, counts are 0).

    `staged_rows` have committed to the staging table; readers see them once the attempt is published. `reason` is
    empty for an attempt that is published or in progress.
    """

    state: AttemptState
    load_id: int | None
    run_id: str | None
    at: datetime
    reason: str
    enqueued_rows: int = 0
    staged_rows: int = 0
    dead_lettered_rows: int = 0
    chunks: int = 0
    chunks_committed: int = 0
    incidents: int = 0
    worker_deaths: int = 0


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition in the ledger. `published` is None where readers see no rows of it."""

    table: str
    target: str
    partition_key: str
    published: PublishedRows | None
    latest: Attempt

    @property
    def is_well(self) -> bool:
        """Whether readers see the partition, and its latest attempt has not failed; that attempt may still be loading."""
        return self.published is not None and self.latest.state in (AttemptState.PUBLISHED, AttemptState.LOADING)
