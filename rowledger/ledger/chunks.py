"""What a chunk's transaction reads and writes in the ledger; `loads` has what the supervisor reads and writes.

Every function takes a connection, runs inside its caller's transaction and never commits.
"""

from collections.abc import Iterator, Sequence

import asyncpg

from rowledger.contract import DeadLetter
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.outcomes import AlreadyCommitted, Committed
from rowledger.machine import ProcessIdentity
from rowledger.postgres import as_texts, query
from rowledger.spec import ChunkPlan, LoadHandle

__all__ = [
    "claim_chunk",
    "fence_load",
    "forget_dead_letters",
    "read_committed_chunk",
    "record_chunk",
    "record_dead_letters",
]

_PAYLOAD_CHARACTERS_MAX = 64 * 2**20  # of all dead letters in one statement


async def fence_load(connection: asyncpg.Connection, handle: LoadHandle) -> bool:
    """Whether this run still owns the load; if so, it owns it until this transaction ends."""
    return await connection.fetchval(query("fence_load"), handle.load_id, handle.epoch) is not None


async def claim_chunk(
    connection: asyncpg.Connection, handle: LoadHandle, chunk_no: int, attempt: int, worker: ProcessIdentity
) -> int | None:
    """Claim the chunk for this transaction and return its enqueued rows; None when an earlier attempt has committed it."""
    claimed: int | None = await connection.fetchval(
        query("claim_chunk"), handle.load_id, chunk_no, attempt, worker.pid, worker.host
    )
    return claimed


async def record_chunk(
    connection: asyncpg.Connection,
    handle: LoadHandle,
    chunk_no: int,
    committed: Committed,
    *,
    fingerprint: str | None,
    row_types: bytes | None,
) -> bool:
    """Set the claimed chunk's counts; False when they do not add up to the enqueued rows.

    `row_types` tells a replay how to read the chunk's dead letters.
    """
    counts = committed.counts
    row = await connection.fetchval(
        query("record_chunk_counts"),
        handle.load_id,
        chunk_no,
        counts.written_rows,
        counts.dead_lettered_rows,
        counts.filtered_rows,
        counts.added_rows,
        committed.discarded_values,
        fingerprint,
        row_types,
    )
    return row is not None


async def forget_dead_letters(connection: asyncpg.Connection, handle: LoadHandle, chunk_no: int) -> None:
    """Delete the dead letters that an attempt recorded when it spent the budget. The chunk is then written or refused again."""
    await connection.execute(query("forget_dead_letters"), handle.load_id, chunk_no)


async def record_dead_letters(
    connection: asyncpg.Connection,
    handle: LoadHandle,
    chunk: ChunkPlan,
    letters: Sequence[DeadLetter],
    *,
    attempt: int,
    worker: ProcessIdentity,
) -> None:
    """Record refused rows of one chunk, in the transaction that writes the chunk's other rows."""
    for batch in _in_batches(letters):
        places = [chunk.place_of(letter.row_no) for letter in batch]
        await connection.execute(
            query("insert_dead_letters"),
            handle.load_id,
            chunk.chunk_no,
            attempt,
            worker.pid,
            worker.host,
            [source for source, _ in places],
            as_texts(source_row for _, source_row in places),
            as_texts(letter.row_no for letter in batch),
            [letter.stage for letter in batch],
            [letter.reason for letter in batch],
            [letter.sqlstate for letter in batch],
            [letter.constraint for letter in batch],
            [letter.column for letter in batch],
            [letter.payload for letter in batch],
            as_texts(letter.part for letter in batch),
            [letter.payload_of for letter in batch],
            [letter.traceback for letter in batch],
        )


def _in_batches(letters: Sequence[DeadLetter]) -> Iterator[Sequence[DeadLetter]]:
    """The dead letters in batches, each far below the 1 GB that the server accepts in one statement."""
    start = size = 0
    for number, letter in enumerate(letters):
        size += len(letter.payload)
        if size > _PAYLOAD_CHARACTERS_MAX and number > start:
            yield letters[start:number]
            start, size = number, len(letter.payload)
    if letters:
        yield letters[start:]


async def read_committed_chunk(
    connection: asyncpg.Connection, handle: LoadHandle, chunk_no: int
) -> AlreadyCommitted | None:
    """The counts of a committed chunk; None for a chunk that has not committed."""
    row = await connection.fetchrow(query("committed_chunk"), handle.load_id, chunk_no)
    if row is None:
        return None
    *counts, discarded_values = row
    return AlreadyCommitted(counts=RowCounts(*counts), discarded_values=discarded_values)
