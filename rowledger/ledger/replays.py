"""Replays in the ledger: dead letters to try, what a replay decides on them, and the counts that follow.

Every function takes a connection and runs inside its caller's transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from rowledger.contract import Refusal, Stage
from rowledger.ledger.actor import Actor
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.dead_letter_outcomes import DeadLetterOutcome, DeadLetterResult
from rowledger.ledger.states import DeadLetterState, LoadState
from rowledger.postgres import query
from rowledger.spec import WriteMode

__all__ = [
    "DeadLetterToReplay",
    "LockedLoad",
    "lock_dead_letters",
    "lock_published_load",
    "move_from_dead_letters",
    "read_columns_written",
    "read_outcomes",
    "read_replay_dead_letters",
    "read_row_types_of_chunks",
    "record_decisions",
    "record_updated_rows",
]


@dataclass(frozen=True, slots=True)
class DeadLetterToReplay:
    """A dead letter that a replay is to try, with its row. `payload_of` is `source` for an edited line."""

    dead_letter_id: int
    revision: int
    chunk_no: int
    row_no: int
    stage: str
    payload: str
    payload_of: str
    is_edited: bool


@dataclass(frozen=True, slots=True)
class LockedLoad:
    """A published load under a lock: its write mode, and what it has updated. Fingerprints are JSON text."""

    write_mode: WriteMode
    updated_rows: int
    replaced_fingerprint: str | None


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
    connection: asyncpg.Connection,
    written_rows: Mapping[int, int],
    refused: Mapping[int, Refusal],
    replay: UUID,
    actor: Actor,
) -> bool:
    """Settle dead letters that this transaction has locked; False when one of them no longer existed.

    `written_rows` has how many rows were written for each that is replayed, `refused` why the others stay open.
    """
    ids = [*written_rows, *refused]
    causes = [refused.get(number) for number in ids]
    states = [DeadLetterState.OPEN if cause else DeadLetterState.REPLAYED for cause in causes]
    settled = await connection.fetch(query("settle_dead_letters"), ids, states)
    await connection.execute(
        query("insert_replay_events"),
        actor.name,
        actor.note,
        actor.run_id,
        replay,
        ids,
        states,
        [written_rows.get(number, 0) for number in ids],
        [cause and cause.stage for cause in causes],
        [cause and cause.reason for cause in causes],
        [cause and cause.sqlstate for cause in causes],
        [cause and cause.constraint for cause in causes],
        [cause and cause.column for cause in causes],
        [cause.traceback if cause else "" for cause in causes],
    )
    return len(settled) == len(ids)


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
