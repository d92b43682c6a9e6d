"""What a load tells the outside: its balance, its verdict, its incidents."""

from dataclasses import dataclass, field

from pipeline.model.outcome import IncidentKind

__all__ = ["Check", "CheckName", "Incident", "PartitionReport"]

from enum import StrEnum


class CheckName(StrEnum):
    """The checks of every load; the names Dagster shows."""

    ROW_BALANCE = "every_row_accounted_for"
    FINGERPRINT = "values_unchanged"
    DEAD_LETTER_BUDGET = "dead_letters_within_budget"


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict, from figures that the database gave. `details` are plain numbers and short texts, no row values."""

    name: CheckName
    passed: bool
    summary: str
    details: dict[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incident:
    """The death or forced end of one worker."""

    kind: IncidentKind
    pid: int
    exit_code: int | None  # negative: minus the signal's number
    partition_key: str | None
    chunk_no: int | None
    attempt: int
    summary: str
    stderr_tail: str = ""


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """How the load of one partition ended.

    `error` is None for a published load. Row counts are the ledger's, `seconds` are wall-clock from plan to publish.
    """

    table: str
    partition_key: str
    load_id: int | None
    enqueued_rows: int
    written_rows: int
    dead_lettered_rows: int
    chunks: int
    retries: int
    seconds: float
    peak_rss_bytes: int
    resumed: bool
    checks: tuple[Check, ...]
    incidents: tuple[Incident, ...]
    error: Exception | None = None

    @property
    def published(self) -> bool:
        return self.error is None

    @property
    def rows_per_second(self) -> float:
        return self.written_rows / self.seconds if self.seconds > 0 else 0.0
