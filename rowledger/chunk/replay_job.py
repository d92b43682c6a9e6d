"""What a worker is asked to do about dead letters, and in whose name."""

from dataclasses import dataclass
from uuid import UUID

from rowledger.ledger import Actor
from rowledger.spec import Column, Partition

__all__ = ["ReplayJob"]


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """Dead letters of one load that a worker is to try in one transaction.

    All jobs of one command or run share `replay`: it decides on a letter once, however often a job is tried.
    """

    load_id: int
    partition: Partition
    columns: tuple[Column, ...]  # with the target table's types
    replay: UUID
    dead_letter_ids: tuple[int, ...]
    actor: Actor
    attempt: int = 1

    @property
    def name(self) -> str:
        """For the log."""
        return f"partition {self.partition.key}, replay of {len(self.dead_letter_ids)} dead letter(s)"

    @property
    def facts(self) -> dict[str, object]:
        """What failpoints can ask for."""
        return {"partition": self.partition.key, "attempt": self.attempt, "letter": self.dead_letter_ids}
