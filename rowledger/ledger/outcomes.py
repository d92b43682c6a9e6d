"""How one attempt at a chunk ended. Outcomes cross process borders, exceptions do not."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from rowledger.ledger.counts import RowCounts
from rowledger.spec import ChunkDescriptor, Column

__all__ = [
    "AlreadyCommitted",
    "BroughtColumns",
    "ChunkOutcome",
    "Committed",
    "Failed",
    "FailureKind",
    "IncidentKind",
    "Planned",
    "Probed",
    "Replayed",
    "SourceRaised",
]


class IncidentKind(StrEnum):
    """What a guard noticed. The first group ended a worker before its time, the second did not."""

    CRASH = "crash"  # ended with a non-zero exit code
    SIGNAL = "signal"  # ended by a signal that Rowledger did not send
    OUT_OF_MEMORY = "out_of_memory"  # SIGKILL, and the cgroup counted an OOM kill
    EXIT_WITHOUT_REPORT = "exit_without_report"  # exit code 0, but no outcome for its chunk
    MEMORY_LIMIT = "memory_limit"  # killed by the supervisor: resident memory over the hard limit
    STALL = "stall"  # killed by the supervisor: no progress for longer than the stall timeout
    DEADLINE = "deadline"  # the chunk took longer than its deadline; killed if it did not stop by itself
    START_FAILED = "start_failed"  # never came up
    HOST_LOST = "host_lost"  # was on a host that was lost

    MEMORY_RECYCLE = "memory_recycle"  # replaced after its chunk: resident memory over the soft limit
    DESCRIPTORS_RECYCLE = "descriptors_recycle"  # replaced after its chunk: too many open descriptors
    WORKERS_LIMITED = "workers_limited"  # fewer workers than asked for: memory carries no more
    CONNECTIONS_LIMITED = "connections_limited"  # fewer workers than asked for: the server has no more connections
    DATABASE_OUTAGE = "database_outage"  # the server was away and all workers paused
    CRASHING_ROW = "crashing_row"  # a row that kills its worker was found and set aside
    RESPAWN_BUDGET = "respawn_budget"  # more workers died than one run may lose
    DEAD_LETTER_BUDGET = "dead_letter_budget"  # more rows were refused than the partition may have
    FREE_DISK = "free_disk"  # too little room on the local disk
    HOST_BENCHED = "host_benched"  # a host could not reach the database while others could, and got no chunks
    HOST_REFUSED = "host_refused"  # a host could not work for the run, such as one with other code

    @property
    def is_death(self) -> bool:
        """Whether a worker was lost."""
        return self in _DEATHS


_DEATHS = frozenset(
    {
        IncidentKind.CRASH,
        IncidentKind.SIGNAL,
        IncidentKind.OUT_OF_MEMORY,
        IncidentKind.EXIT_WITHOUT_REPORT,
        IncidentKind.MEMORY_LIMIT,
        IncidentKind.STALL,
        IncidentKind.DEADLINE,
        IncidentKind.START_FAILED,
        IncidentKind.HOST_LOST,
    }
)


class FailureKind(StrEnum):
    """What the supervisor does about a failed attempt."""

    CONNECTION_LOST = "connection_lost"  # all workers pause until the server answers, then the chunk is tried again
    TIMED_OUT = "timed_out"  # the attempt exceeded its deadline and stopped by itself: it counts as one worker
    STALLED = "stalled"  # a statement made no progress and was cancelled: it counts as one worker
    TRANSIENT = "transient"  # a conflict outlived the retry budget: the load stops, a rerun resumes
    FENCED = "fenced"  # another run owns the load
    SOURCE = "source"  # the source is not what was planned
    BUDGET = "budget"  # more dead letters than the partition may have
    FATAL = "fatal"  # trying again cannot help


class _Outcome(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Counted(_Outcome):
    """What became of a chunk's rows.

    `discarded_values` counts values in columns that the contract does not know. `check_s` is the time that transform
    and contract took, in seconds.
    """

    counts: RowCounts
    discarded_values: int = 0
    retries: int = 0
    check_s: float = 0.0


class Committed(_Counted):
    """The attempt committed the chunk's rows, dead letters and counts."""

    kind: Literal["committed"] = "committed"


class AlreadyCommitted(_Counted):
    """An earlier attempt had committed the chunk, but its report was lost. The counts are read from the ledger."""

    kind: Literal["already_committed"] = "already_committed"


@dataclass(frozen=True, slots=True)
class BroughtColumns:
    """The columns that a file has beyond the contract."""

    origin: str
    columns: tuple[Column, ...]


class Planned(_Outcome):
    """A partition's chunks in source order, and the columns that its files bring."""

    kind: Literal["planned"] = "planned"
    chunks: tuple[ChunkDescriptor, ...]
    brought: tuple[BroughtColumns, ...] = ()
    retries: int = 0


class SourceRaised(_Outcome):
    """The source raised while it was planned or read. `error` is the class, `traceback` the call stack without its text."""

    kind: Literal["source_raised"] = "source_raised"
    error: str
    summary: str
    traceback: str = ""
    retries: int = 0


class Probed(_Outcome):
    """The rows of a probe did not kill their worker. None of them is in the database."""

    kind: Literal["probed"] = "probed"
    retries: int = 0


class Replayed(_Outcome):
    """A replay has tried its dead letters. The ledger has its decision on each of them."""

    kind: Literal["replayed"] = "replayed"
    retries: int = 0


class Failed(_Outcome):
    """Nothing of this attempt is in the database. `summary` contains no row values; `traceback` is text.

    `refused_rows` counts those of the chunk, where they were more than the budget allows.
    """

    kind: Literal["failed"] = "failed"
    failure: FailureKind
    summary: str
    sqlstate: str | None = None
    traceback: str = ""
    refused_rows: int | None = None
    retries: int = 0


ChunkOutcome = Annotated[
    Committed | AlreadyCommitted | Planned | SourceRaised | Probed | Replayed | Failed, Field(discriminator="kind")
]
