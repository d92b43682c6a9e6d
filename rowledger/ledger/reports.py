"""What a load reports: its balance, its verdict, its incidents."""

import os
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from rowledger.counted import counted
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.outcomes import IncidentKind
from rowledger.ledger.row_places import RowPlace, told_rows
from rowledger.settings import host_name

__all__ = [
    "Check",
    "CheckName",
    "Incident",
    "Observer",
    "PartitionReport",
    "Progress",
    "RefusalCause",
]


class CheckName(StrEnum):
    """The checks of every load, under the names that Dagster shows."""

    ROW_BALANCE = "every_row_accounted_for"
    FINGERPRINT = "values_unchanged"
    DEAD_LETTER_BUDGET = "dead_letters_within_budget"


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict, from figures that the database returned. `details` are plain numbers and short texts without row values."""

    name: CheckName
    passed: bool
    summary: str
    details: dict[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incident:
    """What a guard noticed, mostly the death or forced end of one worker.

    `pid` is the worker's, or the supervisor's where no worker is concerned, on the host of the name `host`. `exit_code` is
    minus the signal's number where a signal ended the worker, and None where no worker ended or its end was not seen.
    """

    kind: IncidentKind
    pid: int
    exit_code: int | None
    partition_key: str | None
    chunk_no: int | None
    attempt: int
    summary: str
    stderr_tail: str = ""
    host: str = field(default_factory=host_name)

    @classmethod
    def of_run(cls, kind: IncidentKind, summary: str, *, partition_key: str | None = None) -> "Incident":
        """An incident that concerns no worker, noticed by this process; of one partition where its key is given."""
        return cls(kind, os.getpid(), None, partition_key=partition_key, chunk_no=None, attempt=0, summary=summary)


@dataclass(frozen=True, slots=True)
class RefusalCause:
    """Rows that were refused for one cause. `first_rows` tells where a few of them are; no row values."""

    rows: int
    stage: str
    column: str | None
    constraint: str | None
    sqlstate: str | None
    reason: str
    first_rows: tuple[RowPlace, ...]

    @property
    def told_rows(self) -> str:
        """Where the first of the rows are; an empty text where that is not known."""
        return told_rows(self.first_rows, has_more=self.rows > len(self.first_rows)) if self.first_rows else ""

    def __str__(self) -> str:
        cause = self.reason
        if self.column is not None and not cause.startswith(f"{self.column}:"):
            cause = f"{self.column}: {cause}"
        if not self.first_rows:
            return f"{cause} ({counted(self.rows, 'row')})"
        return f"{cause} ({counted(self.rows, 'row')}: {'row' if self.rows == 1 else 'rows'} {self.told_rows})"


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """How the load of one partition ended.

    `error` is None for a published load. `counts` are the ledger's; `seconds` is wall-clock time from plan to
    publish. `discarded_values` counts values in columns that the contract does not know. `refusals` lists the most
    frequent causes of dead letters. `server` is the variable that holds the URL of the partition's server, where the spec names
    several.
    """

    table: str
    partition_key: str
    load_id: int | None
    counts: RowCounts
    chunks: int
    retries: int
    seconds: float
    peak_rss_bytes: int
    resumed: bool
    checks: tuple[Check, ...]
    incidents: tuple[Incident, ...]
    error: Exception | None = None
    discarded_values: int = 0
    refusals: tuple[RefusalCause, ...] = ()
    server: str = ""

    @property
    def enqueued_rows(self) -> int:
        return self.counts.enqueued_rows

    @property
    def written_rows(self) -> int:
        return self.counts.written_rows

    @property
    def dead_lettered_rows(self) -> int:
        return self.counts.dead_lettered_rows

    @property
    def filtered_rows(self) -> int:
        return self.counts.filtered_rows

    @property
    def added_rows(self) -> int:
        return self.counts.added_rows

    @property
    def published(self) -> bool:
        return self.error is None

    @property
    def deaths(self) -> tuple[Incident, ...]:
        """The incidents that cost a worker."""
        return tuple(incident for incident in self.incidents if incident.kind.is_death)

    @property
    def rows_per_second(self) -> float:
        return self.written_rows / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come. Workers report the `counts`, so they are a hint and not the verdict.

    The enqueued rows grow while a source is loaded as it comes; the missing rows are then the run's lag.
    """

    counts: RowCounts
    rows_per_second: float
    partitions_done: int
    partitions: int


class Observer(Protocol):
    """An observer of a run: Dagster's log, a terminal, a test. Calls come from the run's own thread and must not block long."""

    def log(self, level: int, message: str) -> None:
        """A line for the run's log. `level` is one of the logging module's."""

    def progress(self, progress: Progress) -> None:
        """Called about once a second while rows are written, and once at the end."""

    def finished(self, report: PartitionReport) -> None:
        """One partition has ended, published or not."""
