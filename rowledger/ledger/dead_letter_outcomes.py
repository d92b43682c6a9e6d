"""Dead letters after their load: how they are selected, and the report of a replay."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from rowledger.contract import Stage
from rowledger.ledger.states import DeadLetterState

__all__ = ["DeadLetterOutcome", "DeadLetterResult", "DeadLetterSelection", "ReplayReport"]


class DeadLetterSelection(BaseModel):
    """A selection among the dead letters of a table; None means any value.

    Unless `every_load` is set or `ids` names them, only dead letters of published loads and of each partition's
    latest load are selected. Stage, constraint and column are those of the last refusal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    partitions: tuple[str, ...] | None = None
    stages: tuple[Stage, ...] | None = None
    states: tuple[DeadLetterState, ...] | None = None
    constraint: str | None = None
    column: str | None = None
    ids: tuple[int, ...] | None = None
    every_load: bool = False
    older_than_s: float | None = Field(default=None, ge=0)
    limit: int | None = Field(default=None, ge=1)


class DeadLetterResult(StrEnum):
    """The result of replaying one dead letter."""

    WRITTEN = "written"  # its row is in the table
    FILTERED = "filtered"  # the transform leaves its row out
    REFUSED = "refused"  # it stays a dead letter, and the reason is recorded
    SKIPPED = "skipped"  # it was not tried


@dataclass(frozen=True, slots=True)
class DeadLetterOutcome:
    """The outcome of one dead letter after a replay, as the ledger has it. `reason` contains no row values."""

    dead_letter_id: int
    partition_key: str
    row_no: int
    result: DeadLetterResult
    reason: str = ""
    stage: Stage | None = None
    constraint: str | None = None
    written_rows: int = 0


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """How a replay ended, with an outcome for each selected dead letter in source order."""

    table: str
    replay: UUID
    outcomes: tuple[DeadLetterOutcome, ...]
    worker_deaths: int
    seconds: float

    def count(self, *results: DeadLetterResult) -> int:
        """The number of dead letters with one of these results."""
        return sum(outcome.result in results for outcome in self.outcomes)

    @property
    def written_rows(self) -> int:
        """Rows that are now in the table: more than dead letters where a transform makes several rows of one."""
        return sum(outcome.written_rows for outcome in self.outcomes)

    @property
    def succeeded(self) -> bool:
        """Whether every selected row is in the table, or is left out by the transform."""
        return not self.count(DeadLetterResult.REFUSED, DeadLetterResult.SKIPPED)

    @property
    def changed_partitions(self) -> list[str]:
        """Partitions whose counts the replay has changed: those with dead letters that were written or filtered."""
        done = (DeadLetterResult.WRITTEN, DeadLetterResult.FILTERED)
        return list(dict.fromkeys(outcome.partition_key for outcome in self.outcomes if outcome.result in done))

    def of_partition(self, key: str) -> Sequence[DeadLetterOutcome]:
        """The outcomes in one partition."""
        return [outcome for outcome in self.outcomes if outcome.partition_key == key]
