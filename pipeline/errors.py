"""Every error Rowledger raises on purpose: what happened, and what the reader does next.

Messages name table, partition, chunk, limit and unit. They never carry a password or a row's values.
"""

__all__ = [
    "ChunkFailed",
    "ContractError",
    "DatabaseUnavailable",
    "DeadLetterBudgetSpent",
    "DiscrepancyFound",
    "EmbeddedServerError",
    "Fenced",
    "LoadCancelled",
    "PartitionBusy",
    "PoolBroken",
    "RowledgerError",
    "SourceError",
    "SpecError",
    "TargetMismatch",
    "UnknownPartition",
    "UnsupportedServer",
    "WriterClosed",
]


class RowledgerError(Exception):
    """The root: catch it to tell Rowledger's own verdicts from everything else."""


class SpecError(RowledgerError, ValueError):
    """A table spec contradicts itself. Mend the file in `pipeline/tables/` that the message names."""


class ContractError(RowledgerError):
    """A row model uses something that has no PostgreSQL column or no column rule. Mend the model."""


class UnknownPartition(RowledgerError, LookupError):
    """The key names no partition of the table. Choose one from the range in the message."""

    def __init__(self, key: str, known: str) -> None:
        super().__init__(f"unknown partition {key!r}: {known}")
        self.key = key
        self.known = known

    def __reduce__(self) -> tuple[type["UnknownPartition"], tuple[str, str]]:
        return type(self), (self.key, self.known)


class SourceError(RowledgerError):
    """A source cannot be loaded as it is; nothing of it was published. Mend it or write it again, then rerun."""


class DatabaseUnavailable(RowledgerError):
    """The server cannot be reached, or refuses us. Check ROWLEDGER_DATABASE_URL and that the server runs, then rerun."""


class UnsupportedServer(RowledgerError):
    """The server lacks what a guarantee stands on (version 14, UTF-8). Use another server or database."""


class EmbeddedServerError(RowledgerError):
    """The embedded PostgreSQL did not start or stop. The message ends with its log's last lines."""


class TargetMismatch(RowledgerError):
    """The target table has another shape than the contract. Alter the table or the row model; nothing was written."""


class PartitionBusy(RowledgerError):
    """Another run is loading this partition right now. Wait for it, or cancel it, then rerun."""


class Fenced(RowledgerError):
    """A later run has taken this load over. Nothing to do: that run's result counts, not this one's."""


class ChunkFailed(RowledgerError):
    """A chunk could not be committed within its attempts. Mend the cause in the message; a rerun resumes at this chunk."""


class PoolBroken(RowledgerError):
    """Workers died more often than the respawn budget allows. Read the incidents, mend the cause, rerun."""


class WriterClosed(RowledgerError):
    """The writer was used before it was opened or after it was closed: an error in the calling code."""


class DiscrepancyFound(RowledgerError):
    """The database does not confirm the load. Nothing was published; the message names each figure that differs."""


class DeadLetterBudgetSpent(RowledgerError):
    """More rows were refused than the table's budget allows. Look at `rowledger dead-letters list`; nothing was published."""


class LoadCancelled(RowledgerError):
    """The load was interrupted from outside. Committed chunks stay; a rerun resumes behind them."""
