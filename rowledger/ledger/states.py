"""The states of a load, of a chunk and of a dead letter.

They are stated three times: here, as CHECK and guarded UPDATE in SQL, and in ARCHITECTURE.md.
"""

from enum import StrEnum

__all__ = [
    "CHUNK_TRANSITIONS",
    "LETTER_TRANSITIONS",
    "LOAD_TRANSITIONS",
    "ChunkState",
    "DeadLetterState",
    "LoadState",
]


class LoadState(StrEnum):
    """One attempt to load one partition into its table."""

    LOADING = "loading"  # planned and recorded; chunks commit; a rerun with the same manifest resumes it
    PUBLISHED = "published"  # reconciled by the database and visible to readers
    REPLACED = "replaced"  # a later load of the same partition was published in its place
    REJECTED = "rejected"  # reconcile or a budget refused it; never published, never resumed, kept for the record
    ABANDONED = "abandoned"  # the source changed before the load finished, so its chunks have no meaning any more
    REPEATED = "repeated"  # an earlier load had appended the same rows; nothing was added


class ChunkState(StrEnum):
    """One slice of the source."""

    PENDING = "pending"  # none of it is in the database
    COMMITTED = "committed"  # its rows, its dead letters and its counts committed together


class DeadLetterState(StrEnum):
    """A refused row, and what became of it. A replay that refuses the row again leaves it open."""

    OPEN = "open"  # it waits for an operator to look at it
    CORRECTED = (
        "corrected"  # its payload was edited, or its cause is fixed, as the operator says: it waits for a replay
    )
    REPLAYED = "replayed"  # its row is in the table, or filtered; it no longer counts, and stays as a record
    DISCARDED = "discarded"  # the operator has decided that its row stays out of the table; it still counts


LOAD_TRANSITIONS: dict[LoadState, frozenset[LoadState]] = {
    LoadState.LOADING: frozenset({LoadState.PUBLISHED, LoadState.REJECTED, LoadState.ABANDONED, LoadState.REPEATED}),
    LoadState.PUBLISHED: frozenset({LoadState.REPLACED}),
    LoadState.REPLACED: frozenset(),
    LoadState.REJECTED: frozenset(),
    LoadState.ABANDONED: frozenset(),
    LoadState.REPEATED: frozenset(),
}

CHUNK_TRANSITIONS: dict[ChunkState, frozenset[ChunkState]] = {
    ChunkState.PENDING: frozenset({ChunkState.COMMITTED}),
    ChunkState.COMMITTED: frozenset(),
}

LETTER_TRANSITIONS: dict[DeadLetterState, frozenset[DeadLetterState]] = {
    DeadLetterState.OPEN: frozenset({DeadLetterState.CORRECTED, DeadLetterState.REPLAYED, DeadLetterState.DISCARDED}),
    DeadLetterState.CORRECTED: frozenset({DeadLetterState.OPEN, DeadLetterState.REPLAYED, DeadLetterState.DISCARDED}),
    DeadLetterState.REPLAYED: frozenset(),
    DeadLetterState.DISCARDED: frozenset({DeadLetterState.OPEN, DeadLetterState.CORRECTED}),
}
