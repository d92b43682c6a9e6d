"""Dead letters in the ledger, after their load: read, changed and purged.

Every function takes a connection and runs inside its caller's transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from rowledger.ledger.actor import Actor
from rowledger.ledger.dead_letter_outcomes import DeadLetterSelection
from rowledger.ledger.row_places import RowPlace
from rowledger.ledger.states import DeadLetterState
from rowledger.postgres import query

__all__ = [
    "DeadLetterEvent",
    "KeptDeadLetter",
    "KeptPayload",
    "LetterReason",
    "change_dead_letters",
    "find_dead_letters",
    "purge_dead_letters",
    "read_letter_events",
    "read_letter_reasons",
    "read_payloads",
    "read_table_of_dead_letter",
    "read_waiting_corrected",
]

_CHANGES = {
    DeadLetterState.CORRECTED: "correct_dead_letters",
    DeadLetterState.DISCARDED: "discard_dead_letters",
    DeadLetterState.OPEN: "reopen_dead_letters",
}


@dataclass(frozen=True, slots=True)
class KeptDeadLetter:
    """A dead letter without its row. `stage`, `reason` and the fields after them are those of the last refusal.

    `row_no` counts rows in the partition, `source_row` in `source`. `worker_host` is None where the row was refused before
    hosts were recorded.
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
    worker_host: str | None
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
class LetterReason:
    """Dead letters that were refused for one reason, `dead_letters` of them in `partitions` partitions.

    `first_rows` tells where a few of their rows are, `first_ids` has the numbers of these dead letters. No row values.
    """

    stage: str
    column_name: str | None
    constraint_name: str | None
    sqlstate: str | None
    dead_letters: int
    partitions: int
    reason: str
    first_rows: tuple[RowPlace, ...]
    first_ids: tuple[int, ...]


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


async def find_dead_letters(
    connection: asyncpg.Connection, table: str, selection: DeadLetterSelection
) -> tuple[list[KeptDeadLetter], int]:
    """Dead letters in source order, at most `selection.limit`, and how many there are without that limit."""
    rows = await _fetch_selected(connection, "find_dead_letters", table, selection)
    letters = [{name: value for name, value in row.items() if name != "found_dead_letters"} for row in rows]
    return [KeptDeadLetter(**letter) for letter in letters], rows[0]["found_dead_letters"] if rows else 0


async def read_letter_reasons(
    connection: asyncpg.Connection, table: str, selection: DeadLetterSelection
) -> list[LetterReason]:
    """The reasons of dead letters, the most frequent first, at most `selection.limit`."""
    rows = await _fetch_selected(connection, "dead_letter_reasons", table, selection)
    return [
        LetterReason(
            stage=row["stage"],
            column_name=row["column_name"],
            constraint_name=row["constraint_name"],
            sqlstate=row["sqlstate"],
            dead_letters=row["dead_letters"],
            partitions=row["partitions"],
            reason=row["reason"],
            first_rows=tuple(map(RowPlace, row["first_rows"], row["first_sources"], row["first_partitions"])),
            first_ids=tuple(row["first_ids"]),
        )
        for row in rows
    ]


async def _fetch_selected(
    connection: asyncpg.Connection, name: str, table: str, selection: DeadLetterSelection
) -> list[asyncpg.Record]:
    """What a query says of the dead letters that are selected. The server plans both queries as one."""
    selected = query("selected_dead_letters").rstrip().removesuffix(";")
    rows: list[asyncpg.Record] = await connection.fetch(
        f"with selected as (\n{selected}\n)\n{query(name)}",
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
    return rows


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


async def change_dead_letters(
    connection: asyncpg.Connection,
    revisions: Mapping[int, int],
    state: DeadLetterState,
    actor: Actor,
    *,
    payloads: Mapping[int, str] | None = None,
) -> list[int]:
    """Correct, discard or reopen dead letters; `payloads` has the edited rows of those that are corrected.

    Returns those that were still at the revision that the caller knows.
    """
    arguments: list[object] = [list(revisions), list(revisions.values())]
    if state is DeadLetterState.CORRECTED:
        arguments.append([(payloads or {}).get(number) for number in revisions])
    rows = await connection.fetch(query(_CHANGES[state]), *arguments)
    changed = [row["dead_letter_id"] for row in rows]
    await connection.execute(query("insert_letter_events"), changed, state, actor.name, actor.note, actor.run_id)
    return changed


async def purge_dead_letters(connection: asyncpg.Connection, ids: Sequence[int]) -> list[int]:
    """Delete dead letters that no balance needs, and return their ids."""
    return [row["dead_letter_id"] for row in await connection.fetch(query("purge_dead_letters"), ids)]


async def read_waiting_corrected(connection: asyncpg.Connection, table: str) -> tuple[int, int | None]:
    """The number of corrected dead letters that wait for a replay, and the id of the latest event that made one so."""
    row = await connection.fetchrow(query("waiting_corrected_dead_letters"), table)
    return row["letters"], row["newest"]
