"""Dead letters in the ledger, after their load. Every function takes a connection and runs inside its caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from rowledger.contract import Stage
from rowledger.ledger.actor import Actor
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.dead_letter_outcomes import DeadLetterOutcome, DeadLetterResult, DeadLetterSelection
from rowledger.ledger.states import DeadLetterState, LoadState
from rowledger.postgres import query
from rowledger.spec import WriteMode

__all__ = [
    "DeadLetterEvent",
    "DeadLetterToReplay",
    "Decision",
    "KeptDeadLetter",
    "KeptPayload",
    "LockedLoad",
    "change_dead_letters",
    "correct_dead_letters",
    "find_dead_letters",
    "lock_dead_letters",
    "lock_published_load",
    "move_from_dead_letters",
    "purge_dead_letters",
    "read_columns_written",
    "read_letter_events",
    "read_outcomes",
    "read_payloads",
    "read_replay_dead_letters",
    "read_row_types_of_chunks",
    "read_table_of_dead_letter",
    "read_waiting_corrected",
    "record_decisions",
    "record_updated_rows",
]


@dataclass(frozen=True, slots=True)
class KeptDeadLetter:
    """A dead letter without its row. `stage`, `reason` and the fields after them are those of the last refusal.

    `row_no` counts rows in the partition, `source_row` in `source`.
    """

    dead_letter_id: int
    load_id: int
    target: str
    partition_key: str
    load_state: str
    row_no: int
    part: int
    source: str
    source_row: int | None
    state: str
    revision: int
    replays: int
    worker_pid: int
    attempt: int
    payload_of: str
    recorded_at: datetime
    is_edited: bool
    payload_bytes: int
    stage: str
    reason: str
    sqlstate: str | None
    constraint_name: str | None
    column_name: str | None


@dataclass(frozen=True, slots=True)
class KeptPayload:
    """The row of a dead letter as JSON text, as it was refused and as it was edited. It contains row values."""

    dead_letter_id: int
    payload: str
    corrected_payload: str | None
    payload_of: str
    traceback: str

    @property
    def current(self) -> str:
        """The payload that a replay takes."""
        return self.payload if self.corrected_payload is None else self.corrected_payload


@dataclass(frozen=True, slots=True)
class DeadLetterEvent:
    """A step in the life of a dead letter."""

    state: str
    happened_at: datetime
    actor: str
    note: str
    run_id: str | None
    replay: UUID | None
    written_rows: int
    stage: str | None
    reason: str | None
    sqlstate: str | None
    constraint_name: str | None
    column_name: str | None


@dataclass(frozen=True, slots=True)
class DeadLetterToReplay:
    """A dead letter that a replay is to try, with its row. `payload_of` is `source` for an edited line."""

    dead_letter_id: int
    revision: int
    chunk_no: int
    row_no: int
    part: int
    stage: str
    payload: str
    payload_of: str
    is_edited: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """A replay's decision on one dead letter; `stage` and `reason` are set where the row is refused again."""

    dead_letter_id: int
    written_rows: int = 0
    stage: Stage | None = None
    reason: str | None = None
    sqlstate: str | None = None
    constraint: str | None = None
    column: str | None = None
    traceback: str = ""

    @property
    def state(self) -> DeadLetterState:
        return DeadLetterState.REPLAYED if self.stage is None else DeadLetterState.OPEN


@dataclass(frozen=True, slots=True)
class LockedLoad:
    """A published load under a lock: its write mode, and what it has updated. Fingerprints are JSON text."""

    write_mode: WriteMode
    updated_rows: int
    replaced_fingerprint: str | None


async def find_dead_letters(
    connection: asyncpg.Connection, table: str, selection: DeadLetterSelection
) -> tuple[list[KeptDeadLetter], int]:
    """Dead letters in source order, at most `selection.limit`, and how many there are without that limit."""
    rows = await connection.fetch(
        query("find_dead_letters"),
        table,
        selection.partitions,
        selection.stages,
        selection.states,
        selection.constraint,
        selection.column,
        selection.ids,
        selection.every_load,
        selection.older_than_s,
        selection.limit,
    )
    letters = [{name: value for name, value in row.items() if name != "found_dead_letters"} for row in rows]
    return [KeptDeadLetter(**letter) for letter in letters], rows[0]["found_dead_letters"] if rows else 0


async def read_payloads(connection: asyncpg.Connection, ids: Sequence[int]) -> dict[int, KeptPayload]:
    """The rows of these dead letters."""
    rows = await connection.fetch(query("dead_letter_payloads"), ids)
    return {row["dead_letter_id"]: KeptPayload(**row) for row in rows}


async def read_table_of_dead_letter(connection: asyncpg.Connection, dead_letter_id: int) -> str | None:
    """The name of the table that a dead letter belongs to; None where there is no such dead letter."""
    name: str | None = await connection.fetchval(query("table_of_dead_letter"), dead_letter_id)
    return name


async def read_letter_events(connection: asyncpg.Connection, dead_letter_id: int) -> list[DeadLetterEvent]:
    """The events of a dead letter, oldest first."""
    return [DeadLetterEvent(**row) for row in await connection.fetch(query("letter_events"), dead_letter_id)]


async def correct_dead_letters(
    connection: asyncpg.Connection, revisions: dict[int, int], payloads: dict[int, str], actor: Actor
) -> list[int]:
    """Mark dead letters as corrected, those in `payloads` with an edited row.

    Returns those that were still at the revision that the caller knows.
    """
    ids = list(revisions)
    rows = await connection.fetch(
        query("correct_dead_letters"), ids, list(revisions.values()), [payloads.get(number) for number in ids]
    )
    return await _record_events(connection, rows, DeadLetterState.CORRECTED, actor)


async def change_dead_letters(
    connection: asyncpg.Connection, revisions: dict[int, int], state: DeadLetterState, actor: Actor
) -> list[int]:
    """Discard or reopen dead letters; returns those that were still at the revision that the caller knows."""
    name = {DeadLetterState.DISCARDED: "discard_dead_letters", DeadLetterState.OPEN: "reopen_dead_letters"}[state]
    rows = await connection.fetch(query(name), list(revisions), list(revisions.values()))
    return await _record_events(connection, rows, state, actor)


async def _record_events(
    connection: asyncpg.Connection, rows: Sequence[asyncpg.Record], state: DeadLetterState, actor: Actor
) -> list[int]:
    changed = [row["dead_letter_id"] for row in rows]
    await connection.execute(query("insert_letter_events"), changed, state, actor.name, actor.note, actor.run_id)
    return changed


async def purge_dead_letters(connection: asyncpg.Connection, ids: Sequence[int]) -> list[int]:
    """Delete dead letters that no balance needs, and return their ids."""
    return [row["dead_letter_id"] for row in await connection.fetch(query("purge_dead_letters"), ids)]


async def read_replay_dead_letters(
    connection: asyncpg.Connection, ids: Sequence[int], replay: UUID
) -> list[DeadLetterToReplay]:
    """Dead letters that this replay has not decided on yet, in source order."""
    return [DeadLetterToReplay(**row) for row in await connection.fetch(query("replay_dead_letters"), ids, replay)]


async def read_row_types_of_chunks(
    connection: asyncpg.Connection, load_id: int, chunk_nos: Sequence[int]
) -> dict[int, bytes | None]:
    """The column types that the source had in each of these chunks; None where they were not recorded."""
    rows = await connection.fetch(query("row_types_of_chunks"), load_id, chunk_nos)
    return {row["chunk_no"]: row["row_types"] for row in rows}


async def lock_published_load(connection: asyncpg.Connection, load_id: int) -> LockedLoad | None:
    """Lock the load, if rows can be added to it, until this transaction ends; None otherwise."""
    row = await connection.fetchrow(query("lock_published_load"), load_id)
    if row is None or row["is_counted_by_another"]:
        return None
    return LockedLoad(WriteMode(row["write_mode"]), row["updated_rows"], row["replaced_fingerprint"])


async def read_columns_written(connection: asyncpg.Connection, target: str) -> list[str]:
    """The columns that the published loads of a target have written, including columns that its row model lacks."""
    return [row["name"] for row in await connection.fetch(query("columns_written"), target)]


async def record_updated_rows(
    connection: asyncpg.Connection, load_id: int, rows: int, replaced_fingerprint: str | None
) -> None:
    """Add rows that replaced others to the load's count, and set the fingerprint of all rows that the load has replaced."""
    await connection.execute(query("record_updated_rows"), load_id, rows, replaced_fingerprint)


async def lock_dead_letters(connection: asyncpg.Connection, letters: Sequence[DeadLetterToReplay]) -> set[int]:
    """Lock the dead letters that have not changed since they were read; they stay as they are until this transaction ends."""
    ids, revisions = [letter.dead_letter_id for letter in letters], [letter.revision for letter in letters]
    return {row["dead_letter_id"] for row in await connection.fetch(query("lock_dead_letters"), ids, revisions)}


async def record_decisions(
    connection: asyncpg.Connection, decisions: Sequence[Decision], replay: UUID, actor: Actor
) -> bool:
    """Settle dead letters that this transaction has locked; False when one of them no longer existed."""
    ids = [decision.dead_letter_id for decision in decisions]
    states = [decision.state for decision in decisions]
    settled = await connection.fetch(query("settle_dead_letters"), ids, states)
    await connection.execute(
        query("insert_replay_events"),
        actor.name,
        actor.note,
        actor.run_id,
        replay,
        ids,
        states,
        [decision.written_rows for decision in decisions],
        [decision.stage for decision in decisions],
        [decision.reason for decision in decisions],
        [decision.sqlstate for decision in decisions],
        [decision.constraint for decision in decisions],
        [decision.column for decision in decisions],
        [decision.traceback for decision in decisions],
    )
    return len(settled) == len(decisions)


async def move_from_dead_letters(
    connection: asyncpg.Connection, load_id: int, chunk_no: int, change: RowCounts, fingerprint: str | None
) -> bool:
    """Add a replay's change to the counts of a chunk; False when the counts do not balance, before or after it.

    `change` subtracts from the dead-lettered rows what it adds to the others. A `fingerprint` replaces the chunk's.
    """
    moved = await connection.fetchval(
        query("move_from_dead_letters"),
        load_id,
        chunk_no,
        change.written_rows,
        change.dead_lettered_rows,
        change.filtered_rows,
        change.added_rows,
        fingerprint,
    )
    return moved is not None


async def read_outcomes(
    connection: asyncpg.Connection, ids: Sequence[int], replay: UUID
) -> list[DeadLetterOutcome | None]:
    """What a replay has decided, in the order of the ids; None for a dead letter that still waits for its decision.

    A dead letter that the replay may no longer change is skipped, and the reason says why.
    """
    rows = await connection.fetch(query("replay_outcomes"), ids, replay)
    found = {row["dead_letter_id"]: row for row in rows}
    return [_outcome(number, found.get(number)) for number in ids]


def _outcome(number: int, row: asyncpg.Record | None) -> DeadLetterOutcome | None:
    if row is None:
        return DeadLetterOutcome(number, "-", -1, DeadLetterResult.SKIPPED, "it was deleted meanwhile")
    place = (number, row["partition_key"], row["row_no"])
    if not row["is_decided"]:
        reason = _why_skipped(row)
        return DeadLetterOutcome(*place, DeadLetterResult.SKIPPED, reason) if reason else None
    if row["decided_state"] == DeadLetterState.REPLAYED:
        written = row["written_rows"]
        result = DeadLetterResult.WRITTEN if written else DeadLetterResult.FILTERED
        return DeadLetterOutcome(*place, result, "" if written else "the transform leaves it out", written_rows=written)
    return DeadLetterOutcome(
        *place,
        DeadLetterResult.REFUSED,
        row["reason"],
        stage=Stage(row["stage"]),
        constraint=row["constraint_name"],
        column=row["column_name"],
    )


def _why_skipped(row: asyncpg.Record) -> str:
    """Why a replay may not change a dead letter that it has not decided on; empty when it may."""
    if row["load_state"] != LoadState.PUBLISHED:
        return f"its load is {row['load_state']}, and not in the table any more"
    if row["is_counted_by_another"]:
        return "the table's write mode was changed since: a later load stands for its load's rows; load the partition again"
    match DeadLetterState(row["state"]):
        case DeadLetterState.REPLAYED:
            return "it was replayed before"
        case DeadLetterState.DISCARDED:
            return "it is discarded; mark it as open or as corrected first"
        case _:
            return ""


async def read_waiting_corrected(connection: asyncpg.Connection, table: str) -> tuple[int, int | None]:
    """The number of corrected dead letters that wait for a replay, and the id of the latest event that made one so."""
    row = await connection.fetchrow(query("waiting_corrected_dead_letters"), table)
    return row["letters"], row["newest"]
