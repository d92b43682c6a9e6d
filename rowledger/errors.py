"""Every error that Rowledger raises on purpose: what happened, and what the reader does next.

Messages name table, partition, chunk, limit and unit. They never contain a password or a row's values. All errors
survive pickling with their attributes, because an executor may pass them from one process to another.
"""

from collections.abc import Sequence

__all__ = [
    "ChunkFailed",
    "ChunkTimedOut",
    "ConnectionsExhausted",
    "ContractError",
    "DatabaseOutage",
    "DatabaseUnavailable",
    "DeadLetterBudgetSpent",
    "DeadLetterFileRefused",
    "DiscrepancyFound",
    "EmbeddedServerError",
    "Fenced",
    "HostsUnavailable",
    "LedgerBusy",
    "LedgerMismatch",
    "LedgerMissing",
    "LoadCancelled",
    "LoadFailed",
    "MissingExtra",
    "MissingPrivilege",
    "NotEnoughSpace",
    "NothingPublished",
    "NothingRecorded",
    "PartitionBusy",
    "PoolBroken",
    "ProducerTerminated",
    "ReplayFailed",
    "RowledgerError",
    "SourceError",
    "SpecError",
    "StandbyMissing",
    "TargetMismatch",
    "TransformFailed",
    "UnknownPartition",
    "UnsupportedServer",
    "ValuesAltered",
    "WorkerTerminated",
    "WriterClosed",
]


class RowledgerError(Exception):
    """The root: catch it to tell Rowledger's errors from all others."""

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's method calls the class with `args`, which fails for every class that takes more than a message.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[RowledgerError], args: tuple[object, ...], attributes: dict[str, object]) -> RowledgerError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class SpecError(RowledgerError, ValueError):
    """A table spec contradicts itself, or names what cannot be imported. Fix the module that the message names."""


class ContractError(RowledgerError):
    """A row model uses something that has no PostgreSQL column or no column rule. Fix the model."""


class MissingExtra(RowledgerError, ImportError):
    """A part of Rowledger needs a package that is not installed. Run the command in the message, then rerun.

    `extra` is the extra of Rowledger that brings the package.
    """

    def __init__(self, message: str, *, extra: str = "") -> None:
        super().__init__(message)
        self.extra = extra


class UnknownPartition(RowledgerError, LookupError):
    """The key names no partition of the table. Choose one from the range in the message."""

    def __init__(self, key: str, known: str) -> None:
        super().__init__(f"unknown partition {key!r}: {known}")
        self.key = key
        self.known = known


class SourceError(RowledgerError):
    """A source cannot be loaded as it is. Fix it or write it again, then rerun.

    `source_traceback` is the call stack of a user's function that was the source and raised. It lacks the exception's
    text, which may quote a row.
    """

    def __init__(self, message: str, *, source_traceback: str = "") -> None:
        super().__init__(message)
        self.source_traceback = source_traceback


class ProducerTerminated(SourceError):
    """The process that reads a source died or was killed. Its incident has its last output; fix the cause, then rerun.

    `cause` is an incident kind. `exit_code` is minus the signal's number where a signal ended the process. `host` names the
    machine that it was on.
    """

    def __init__(self, message: str, *, pid: int, exit_code: int | None, cause: str, host: str = "") -> None:
        super().__init__(message)
        self.pid = pid
        self.host = host
        self.exit_code = exit_code
        self.cause = cause


class ValuesAltered(SourceError):
    """A library has turned values into nulls or into another type. Convert the column, then rerun."""


class TransformFailed(RowledgerError):
    """A table's transform breaks its rules. Fix the function that the spec names; a rerun resumes."""


class DatabaseUnavailable(RowledgerError):
    """The server cannot be reached, or refuses. Check ROWLEDGER_DATABASE_URL (or the named variable) and the server; rerun."""


class ConnectionsExhausted(DatabaseUnavailable):
    """The server answers, but has no connection left for a worker. End idle sessions, or raise its limit, then rerun."""


class StandbyMissing(DatabaseUnavailable):
    """A COMMIT waits for a synchronous standby that does not answer. Bring it back, or change the setting, then rerun."""


class DatabaseOutage(DatabaseUnavailable):
    """The server was away for longer than `outage_budget_s`. What has committed stays. Check the server, then rerun."""


class UnsupportedServer(RowledgerError):
    """The server lacks what a guarantee depends on (version 14, UTF-8). Use another server or database."""


class LedgerMismatch(UnsupportedServer):
    """The ledger is of another version than this Rowledger, or one of its migrations was edited. The message says which."""


class LedgerMissing(RowledgerError):
    """The database has no ledger: nothing was ever loaded into it.

    The first load creates one, as does `rowledger db migrate`.
    """


class LedgerBusy(RowledgerError):
    """The ledger must be upgraded, and a run is still loading with it. Wait for that run or cancel it, then rerun."""


class MissingPrivilege(RowledgerError):
    """The role may not do what the operation needs. Have the statements in the message run, then rerun.

    `statements` has these SQL statements, for the owner of the objects or a superuser.
    """

    def __init__(self, message: str, *, statements: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.statements = tuple(statements)


class EmbeddedServerError(RowledgerError):
    """The embedded PostgreSQL did not start or stop. The message ends with its log's last lines."""


class TargetMismatch(RowledgerError):
    """The target table has another shape than the contract. Alter the table or the row model, then rerun."""


class PartitionBusy(RowledgerError):
    """Another run is loading this partition right now. Wait for it, or cancel it, then rerun."""


class Fenced(RowledgerError):
    """A later run has taken this load over. Nothing to do: that run's result counts, not this one's."""


class ChunkFailed(RowledgerError):
    """A chunk could not be committed. Fix the cause in the message; a rerun resumes at this chunk.

    `worker_traceback` is the worker's call stack, where an exception in its code was the cause.
    """

    def __init__(
        self,
        message: str,
        *,
        partition_key: str | None = None,
        chunk_no: int | None = None,
        worker_traceback: str = "",
    ) -> None:
        super().__init__(message)
        self.partition_key = partition_key
        self.chunk_no = chunk_no
        self.worker_traceback = worker_traceback


class WorkerTerminated(ChunkFailed):
    """A chunk cost as many workers as it may. Read the incidents and the workers' last output, fix the cause, rerun.

    `pid`, `host` (its machine's name), `exit_code` (minus the signal's number where a signal ended it), `cause` (an incident
    kind) and `summary` are the last worker's.
    """

    def __init__(
        self,
        message: str,
        *,
        pid: int,
        exit_code: int | None,
        cause: str,
        summary: str,
        host: str = "",
        partition_key: str | None = None,
        chunk_no: int | None = None,
        worker_traceback: str = "",
    ) -> None:
        super().__init__(message, partition_key=partition_key, chunk_no=chunk_no, worker_traceback=worker_traceback)
        self.pid = pid
        self.host = host
        self.exit_code = exit_code
        self.cause = cause
        self.summary = summary

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended the worker, if one did."""
        return -self.exit_code if self.exit_code is not None and self.exit_code < 0 else None


class ChunkTimedOut(WorkerTerminated):
    """A worker was alive but too slow, and was killed for it: a matter of liveness, not a crash. See what the server was
    waiting for then; if it was merely busy, raise `stall_timeout_s` or `chunk_deadline_s`; then rerun.
    """  # noqa: D205 - one sentence says what happened, the next what to do, and both are shown to the reader


class PoolBroken(RowledgerError):
    """Workers died more often than the respawn budget allows. Read the incidents, fix the cause, rerun."""


class HostsUnavailable(RowledgerError):
    """No host can work for the run, or it has lost too many. See to the hosts that the message names, then rerun."""


class WriterClosed(RowledgerError):
    """The writer was used before it was opened or after it was closed: an error in the calling code."""


class NotEnoughSpace(RowledgerError):
    """A disk has less room than `disk_free_min_bytes` asks for. Make room in the folder that the message names, then rerun."""


class NothingPublished(RowledgerError, LookupError):
    """The ledger has no published load of what was asked for: nothing to verify or forget. See `rowledger status`."""


class NothingRecorded(RowledgerError, LookupError):
    """The ledger has no entry of the table, partition or dead letter that was asked for. Check its name, and the database."""


class DiscrepancyFound(RowledgerError):
    """The database does not confirm a partition, so it was not published. The message names each figure that differs."""


class DeadLetterBudgetSpent(RowledgerError):
    """More rows of a partition were refused than the table's budget allows, so it was not published. Fix the source, the row
    model or the budget of the table spec, then load the partition again.

    `refused_rows` counts those of the whole partition, where it is known; `detail` adds to the message, `command` lists them.
    """  # noqa: D205 - one sentence says what happened, the next what to do, and both are shown to the reader

    def __init__(self, message: str, *, refused_rows: int | None = None, detail: str = "", command: str = "") -> None:
        super().__init__(message)
        self.refused_rows = refused_rows
        self.detail = detail
        self.command = command


class ReplayFailed(RowledgerError):
    """A replay could not continue. What it has committed stays; fix the cause in the message, then replay again."""


class DeadLetterFileRefused(RowledgerError):
    """A file of dead letters cannot be imported; nothing was. Fix the named lines, then import it again."""


class LoadFailed(RowledgerError):
    """Partitions were not published. Each has its cause in the message and in its report; fix it, then load them again.

    `reports` has a `PartitionReport` for each partition of the load, including published ones.
    """

    def __init__(self, message: str, *, reports: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.reports = tuple(reports)


class LoadCancelled(RowledgerError):
    """The load was interrupted from outside. Committed chunks stay; a rerun resumes after them."""
