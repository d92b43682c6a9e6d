"""What crosses process borders instead of exceptions: how one attempt at a chunk ended."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AlreadyCommitted", "ChunkOutcome", "Committed", "Failed", "FailureKind", "IncidentKind"]


class IncidentKind(StrEnum):
    """Why a worker ended before its time."""

    CRASH = "crash"  # ended with a non-zero exit code
    SIGNAL = "signal"  # ended by a signal that was not ours
    OUT_OF_MEMORY = "out_of_memory"  # SIGKILL, and the cgroup counted an OOM kill
    EXIT_WITHOUT_REPORT = "exit_without_report"  # exit code 0, but no outcome for its chunk
    MEMORY_LIMIT = "memory_limit"  # killed by us: resident memory over the hard limit
    STALL = "stall"  # killed by us: no progress for longer than the stall timeout
    DEADLINE = "deadline"  # killed by us: the chunk took longer than its deadline
    START_FAILED = "start_failed"  # never came up


class FailureKind(StrEnum):
    """What the supervisor does about a failed attempt."""

    TRANSIENT = "transient"  # outage or conflict outlived the retry budget: the load stops, a rerun resumes
    FENCED = "fenced"  # another run owns the load
    SOURCE = "source"  # the source is not what was planned
    BUDGET = "budget"  # more dead letters than the chunk may have
    FATAL = "fatal"  # trying again cannot help


class _Outcome(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Committed(_Outcome):
    """The chunk's rows, dead letters and counts are in the database, by this attempt."""

    kind: Literal["committed"] = "committed"
    written_rows: int
    dead_lettered_rows: int
    retries: int = 0
    peak_rss_bytes: int = 0
    client_cpu_s: float = 0.0


class AlreadyCommitted(_Outcome):
    """An earlier attempt had committed, though its report was lost. Counts are read from the ledger."""

    kind: Literal["already_committed"] = "already_committed"
    written_rows: int
    dead_lettered_rows: int
    retries: int = 0
    peak_rss_bytes: int = 0
    client_cpu_s: float = 0.0


class Failed(_Outcome):
    """Nothing of this attempt is in the database. `summary` is free of row values; `traceback` is text."""

    kind: Literal["failed"] = "failed"
    failure: FailureKind
    error_type: str
    summary: str
    sqlstate: str | None = None
    traceback: str = ""
    retries: int = 0


ChunkOutcome = Annotated[Committed | AlreadyCommitted | Failed, Field(discriminator="kind")]
