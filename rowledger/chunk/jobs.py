"""The jobs of a worker: plan a partition, commit a chunk of a load, or replay dead letters. A job is one attempt.

The ledger ensures that a piece of work takes effect once, however often it is tried. The kinds that write rows provide what a
pool needs: a name, their place in the ledger, the next attempt, jobs of part of their rows for the search for rows that kill
workers, and a way to set such rows aside. The pool counts rows by position, from 0 to `rows`; those of a replay are dead
letters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self
from uuid import UUID

from rowledger.ledger import Actor
from rowledger.settings import WriterSettings
from rowledger.spec import ChunkPlan, Column, LoadHandle, Partition, SourceContext

__all__ = ["ChunkJob", "Job", "PlanJob", "ReplayJob"]


@dataclass(frozen=True, slots=True)
class ChunkJob:
    """One attempt at one chunk, into these columns of the table. `dead_letters_max` is the budget of the whole partition.

    Rows in `set_aside`, which kill workers, become dead letters untried, for these reasons. A `probe` tries only the rows
    [first, stop), by their number in the partition, and commits nothing.
    """

    handle: LoadHandle
    partition: Partition
    chunk: ChunkPlan
    columns: tuple[Column, ...]
    attempt: int
    dead_letters_max: int
    set_aside: Mapping[int, str] = field(default_factory=dict)
    probe: tuple[int, int] | None = None

    resumption = "a rerun resumes at this chunk"  # for errors: what continues after the work has failed
    incident_prefix = ""  # of an incident's summary
    is_suspect = False

    @property
    def row_nos(self) -> Sequence[int]:
        """The rows to write, as numbers in the partition."""
        first = self.chunk.first_row
        rows = range(*self.probe) if self.probe else range(first, first + self.chunk.rows)
        if not self.set_aside:
            return rows
        return [row_no for row_no in rows if row_no not in self.set_aside]

    @property
    def name(self) -> str:
        return f"partition {self.partition.key}, chunk {self.chunk.chunk_no}"

    @property
    def facts(self) -> dict[str, object]:
        """The facts that failpoints can match."""
        return {"partition": self.partition.key, "chunk": self.chunk.chunk_no, "attempt": self.attempt}

    @property
    def load_id(self) -> int:
        return self.handle.load_id

    @property
    def partition_key(self) -> str:
        return self.partition.key

    @property
    def chunk_no(self) -> int:
        return self.chunk.chunk_no

    @property
    def rows(self) -> int:
        return self.chunk.rows

    def row_name(self, position: int) -> str:
        return f"row {self.chunk.first_row + position}"

    def numbered(self, attempt: int) -> Self:
        return replace(self, attempt=attempt)

    def probing(self, first: int, stop: int) -> Self:
        """A job that tries some of the rows and commits nothing; `first` and `stop` count from the chunk's first row."""
        return replace(self, probe=(self.chunk.first_row + first, self.chunk.first_row + stop))

    def may_set_aside(self, rows: int, limits: WriterSettings) -> bool:
        return rows <= limits.crash_rows_max

    def without(self, positions: Sequence[int], reason: str) -> Self:
        """The job that makes these rows dead letters, untried."""
        row_nos = [self.chunk.first_row + position for position in positions]
        return replace(self, set_aside={**self.set_aside, **dict.fromkeys(row_nos, reason)})


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """One attempt at dead letters of one load, in one transaction.

    All jobs of one command or run share `replay`, which decides on each letter once, however many attempts a job takes.
    Letters in `set_aside`, which kill workers, stay dead letters, untried, for these reasons. `is_suspect` marks a job of one
    letter that is known to have killed workers: no budget counts these deaths.
    """

    table: str
    load_id: int
    partition: Partition
    columns: tuple[Column, ...]  # with the target table's types
    replay: UUID
    dead_letter_ids: tuple[int, ...]
    actor: Actor
    attempt: int = 1
    set_aside: Mapping[int, str] = field(default_factory=dict)
    is_suspect: bool = False

    resumption = "replay again, which continues after it"
    incident_prefix = "while dead letters were replayed: "
    chunk_no = None

    @property
    def name(self) -> str:
        return (
            f"table {self.table}, partition {self.partition.key}, replay of {len(self.dead_letter_ids)} dead letter(s)"
        )

    @property
    def facts(self) -> dict[str, object]:
        return {"partition": self.partition.key, "attempt": self.attempt, "letter": self.dead_letter_ids}

    @property
    def partition_key(self) -> str:
        return self.partition.key

    @property
    def rows(self) -> int:
        return len(self.dead_letter_ids)

    def row_name(self, position: int) -> str:
        return f"dead letter {self.dead_letter_ids[position]}"

    def numbered(self, attempt: int) -> Self:
        return replace(self, attempt=attempt)

    def probing(self, first: int, stop: int) -> Self:
        """A job of some of the letters. Unlike a chunk's probe it commits: letters that do not kill are decided on."""
        return replace(self, dead_letter_ids=self.dead_letter_ids[first:stop])

    def may_set_aside(self, rows: int, limits: WriterSettings) -> bool:  # noqa: ARG002 - they are dead letters already
        return True

    def without(self, positions: Sequence[int], reason: str) -> Self:
        """The job that refuses these letters, untried."""
        ids = [self.dead_letter_ids[position] for position in positions]
        return replace(self, set_aside={**self.set_aside, **dict.fromkeys(ids, reason)})


@dataclass(frozen=True, slots=True)
class PlanJob:
    """One attempt to plan a partition, which writes nothing."""

    partition: Partition
    scope: SourceContext
    attempt: int = 1

    resumption = "see whether its files can be read, then rerun"
    incident_prefix = "while the source was planned: "
    load_id = None
    chunk_no = None
    is_suspect = False

    @property
    def name(self) -> str:
        return f"partition {self.partition.key}, plan"

    @property
    def facts(self) -> dict[str, object]:
        return {"partition": self.partition.key, "attempt": self.attempt}

    @property
    def partition_key(self) -> str:
        return self.partition.key

    def numbered(self, attempt: int) -> Self:
        return replace(self, attempt=attempt)


Job = ChunkJob | ReplayJob
"""A job that writes rows, any of which may kill its worker."""
