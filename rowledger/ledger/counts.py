"""Row counts as one value. This is the only place in Python that states the balance."""

from dataclasses import dataclass

__all__ = ["RowCounts"]


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows enqueued from the source, and what became of them.

    A transform filters rows and adds rows. In a difference of counts, values may be negative.
    """

    enqueued_rows: int = 0
    written_rows: int = 0
    dead_lettered_rows: int = 0
    filtered_rows: int = 0
    added_rows: int = 0

    def __add__(self, other: "RowCounts") -> "RowCounts":
        return RowCounts(
            self.enqueued_rows + other.enqueued_rows,
            self.written_rows + other.written_rows,
            self.dead_lettered_rows + other.dead_lettered_rows,
            self.filtered_rows + other.filtered_rows,
            self.added_rows + other.added_rows,
        )

    @property
    def missing_rows(self) -> int:
        """Rows that are neither written, dead-lettered nor filtered; negative where more are counted than were enqueued."""
        return self.enqueued_rows + self.added_rows - self.written_rows - self.dead_lettered_rows - self.filtered_rows

    def balances(self) -> bool:
        """Whether every row is accounted for: `enqueued + added = written + dead_lettered + filtered`."""
        return self.missing_rows == 0
