"""The state of attempts at partitions in the ledger, and why they failed.

Every function takes a connection and never commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from rowledger.errors import RowledgerError
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.outcomes import IncidentKind
from rowledger.ledger.states import LoadState
from rowledger.ledger.status import Attempt, AttemptState, PartitionStatus, PublishedRows
from rowledger.postgres import query, sqlstate_of
from rowledger.spec import LoadHandle, TableSpec

__all__ = [
    "KnownTable",
    "fetch_known_tables",
    "fetch_status",
    "forget_failed_attempts",
    "read_unknown_partitions",
    "reason_of",
    "record_failed_attempt",
]

_FIGURES = (
    "enqueued_rows",
    "staged_rows",
    "dead_lettered_rows",
    "chunks",
    "chunks_committed",
    "incidents",
    "worker_deaths",
)
_DEATHS = [kind for kind in IncidentKind if kind.is_death]
_KILLED = "the run was killed, cancelled or cut off from the database; a rerun resumes"


@dataclass(frozen=True, slots=True)
class KnownTable:
    """A table that the ledger has attempts of, with the name of its spec and of its target."""

    table_name: str
    target: str
    published_partitions: int


def reason_of(error: Exception) -> str:
    """The message of a Rowledger error; for any other error its type alone, because its text may quote a row."""
    if isinstance(error, RowledgerError):
        return str(error)
    sqlstate = sqlstate_of(error)
    return f"{type(error).__name__}{f' ({sqlstate})' if sqlstate else ''}; see the run's log"


async def record_failed_attempt(
    connection: asyncpg.Connection,
    spec: TableSpec,
    partition_key: str,
    handle: LoadHandle | None,
    *,
    run_id: str | None,
    error: Exception,
) -> None:
    """Record why an attempt failed. `handle` is that of its load, or None if it had not begun one."""
    await connection.execute(
        query("insert_failed_attempt"),
        spec.name,
        str(spec.target),
        partition_key,
        handle.load_id if handle else None,
        handle.epoch if handle else None,
        run_id,
        type(error).__name__,
        reason_of(error),
    )


async def forget_failed_attempts(connection: asyncpg.Connection, spec: TableSpec, partition_key: str) -> None:
    """Delete the reasons of earlier failures, for an attempt that succeeds without leaving a load."""
    await connection.execute(query("forget_failed_attempts"), str(spec.target), partition_key)


async def fetch_known_tables(connection: asyncpg.Connection) -> list[KnownTable]:
    """Every table that the ledger has attempts of."""
    return [KnownTable(**row) for row in await connection.fetch(query("tables_known"))]


async def read_unknown_partitions(connection: asyncpg.Connection, table: str | None, keys: Sequence[str]) -> list[str]:
    """The keys that the ledger has no attempt of, under the table's name or under any."""
    return [row["key"] for row in await connection.fetch(query("partitions_unknown"), table, keys)]


async def fetch_status(
    connection: asyncpg.Connection, table: str | None, partition_keys: Sequence[str] | None
) -> list[PartitionStatus]:
    """What readers see of each partition, and the latest attempt at it. None selects all tables, or all partitions."""
    rows = await connection.fetch(query("partition_status"), table, partition_keys, _DEATHS)
    return [
        PartitionStatus(row["table_name"], row["target"], row["partition_key"], _published(row), _latest(row))
        for row in rows
    ]


def _published(row: asyncpg.Record) -> PublishedRows | None:
    if row["published_loads"] is None:
        return None
    return PublishedRows(
        loads=row["published_loads"],
        load_id=row["published_load_id"],
        published_at=row["published_at"],
        run_id=row["published_run_id"],
        counts=RowCounts(
            enqueued_rows=row["published_enqueued_rows"],
            written_rows=row["published_written_rows"],
            dead_lettered_rows=row["published_dead_lettered_rows"],
            filtered_rows=row["published_filtered_rows"],
            added_rows=row["published_added_rows"],
        ),
        updated_rows=row["published_updated_rows"],
    )


def _latest(row: asyncpg.Record) -> Attempt:
    """The latest load, or the failure that came after it."""
    if row["load_id"] is None or (row["failed_at"] is not None and _failed_since(row)):
        return _failure(row)
    state = LoadState(row["state"])
    match state:
        case LoadState.LOADING:
            attempt, reason = (AttemptState.LOADING, "") if row["is_worked_on"] else (AttemptState.INTERRUPTED, _KILLED)
        case LoadState.PUBLISHED:
            attempt, reason = AttemptState.PUBLISHED, ""
        case LoadState.REPLACED:  # no later load has replaced it
            attempt, reason = AttemptState.FORGOTTEN, row["verdict"] or ""
        case _:
            attempt, reason = AttemptState(state.value), row["verdict"] or ""
    return _attempt(row, attempt, row["run_id"], row["ended_at"] or row["started_at"], reason)


def _failed_since(row: asyncpg.Record) -> bool:
    """Whether the latest failure belongs to the latest load, or is later than it."""
    if row["failed_load_id"] == row["load_id"] and row["state"] == LoadState.LOADING:
        return bool(row["failed_epoch"] == row["epoch"])
    if row["is_worked_on"]:
        return False
    return bool(row["failed_at"] > (row["ended_at"] or row["started_at"]))


def _failure(row: asyncpg.Record) -> Attempt:
    if row["failed_load_id"] is None or row["failed_load_id"] != row["load_id"]:
        return Attempt(
            AttemptState.FAILED, row["failed_load_id"], row["failed_run_id"], row["failed_at"], row["failed_reason"]
        )
    state = AttemptState.REJECTED if row["state"] == LoadState.REJECTED else AttemptState.FAILED
    return _attempt(row, state, row["failed_run_id"], row["failed_at"], row["failed_reason"])


def _attempt(row: asyncpg.Record, state: AttemptState, run_id: str | None, at: datetime, reason: str) -> Attempt:
    return Attempt(state, row["load_id"], run_id, at, reason, **{name: row[name] for name in _FIGURES})
