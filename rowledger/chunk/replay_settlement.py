"""The ledger entries of a replay: settled letters, and their chunks' counts and fingerprints including the written rows.

It runs in the transaction of `replay_transaction`, and never commits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import polars as pl

from rowledger.chunk.jobs import ReplayJob
from rowledger.contract import Fingerprint, Refusal, fingerprint_frame
from rowledger.errors import DiscrepancyFound
from rowledger.ledger import (
    DeadLetterToReplay,
    LockedLoad,
    RowCounts,
    move_from_dead_letters,
    note_entries,
    record_decisions,
    record_updated_rows,
)
from rowledger.postgres import query

__all__ = ["Stored", "settle_dead_letters"]


@dataclass(frozen=True, slots=True)
class Stored:
    """The rows that a replay has written, and their offsets by letter. An upsert has replaced `updated_rows` rows."""

    rows: pl.DataFrame
    rows_of: Mapping[int, Sequence[int]]
    updated_rows: int
    replaced: Fingerprint


async def settle_dead_letters(
    connection: asyncpg.Connection,
    job: ReplayJob,
    load: LockedLoad,
    letters: Sequence[DeadLetterToReplay],
    refused: Mapping[int, Refusal],
    stored: Stored,
) -> None:
    """Settle the letters, and move the counts of replayed letters to their chunks' other counts.

    Raises DiscrepancyFound if the ledger changed in spite of the locks, or if its counts do not add up.
    """
    rows_of = stored.rows_of
    ids = [letter.dead_letter_id for letter in letters]
    written_rows = {number: len(rows_of.get(number, ())) for number in ids if number not in refused}
    refusals = {number: refused[number] for number in ids if number in refused}
    if not await record_decisions(connection, written_rows, refusals, job.replay, job.actor):
        raise DiscrepancyFound(f"load {job.load_id}: dead letters changed though they were locked")
    by_chunk: dict[int, list[int]] = {}
    for letter in letters:
        if letter.dead_letter_id in written_rows:
            by_chunk.setdefault(letter.chunk_no, []).append(letter.dead_letter_id)
    for chunk_no, ids in sorted(by_chunk.items()):
        counts = [written_rows[number] for number in ids]
        rows = stored.rows[[row for number in ids for row in rows_of.get(number, ())]]
        change = RowCounts(
            written_rows=sum(counts),
            dead_lettered_rows=-len(ids),
            filtered_rows=counts.count(0),
            added_rows=sum(count - 1 for count in counts if count),
        )
        fingerprint = await _fingerprint_with(connection, job, chunk_no, rows)
        if not await move_from_dead_letters(connection, job.load_id, chunk_no, change, fingerprint):
            raise DiscrepancyFound(
                f"load {job.load_id}, chunk {chunk_no}: its counts in the ledger do not add up, so no dead letter of "
                "it is replayed; look at `rowledger verify`, and load the partition again"
            )
    if stored.updated_rows:
        await _record_updates(connection, job, load, stored)
    await note_entries(connection, [job.load_id])


async def _record_updates(connection: asyncpg.Connection, job: ReplayJob, load: LockedLoad, stored: Stored) -> None:
    """Record the overwritten rows, which a reconciliation of the table with the ledger subtracts from the written ones."""
    before = load.replaced_fingerprint
    total: str | None = None
    if before is not None or not load.updated_rows:
        total = (Fingerprint.from_json(before or "{}") + stored.replaced).to_json()
    await record_updated_rows(connection, job.load_id, stored.updated_rows, total)


async def _fingerprint_with(
    connection: asyncpg.Connection, job: ReplayJob, chunk_no: int, rows: pl.DataFrame
) -> str | None:
    """The chunk's fingerprint including these rows; None if the chunk has none."""
    text = await connection.fetchval(query("chunk_fingerprint"), job.load_id, chunk_no)
    if text is None:
        return None
    names = [column.name for column in job.columns]
    return (Fingerprint.from_json(text) + fingerprint_frame(rows.select(names), job.columns)).to_json()
