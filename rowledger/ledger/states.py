"""The life of a load, of a chunk and of a dead letter.

Told once here, once as CHECK and guarded UPDATE in SQL, once in ARCHITECTURE.md.
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
    """One attempt to bring one partition into its table."""

    LOADING = "loading"  # planned and recorded; chunks commit; a rerun with the same manifest resumes it
    PUBLISHED = "published"  # reconciled by the database and visible to readers
    REPLACED = "replaced"  # a later load of the same partition was published in its place
    REJECTED = "rejected"  # reconcile or a budget refused it; never published, never resumed, kept for the record
    ABANDONED = "abandoned"  # the source changed before it was finished, so its chunks mean nothing any more
    REPEATED = "repeated"  # an earlier load had appended these very rows; nothing was added


class ChunkState(StrEnum):
    """One slice of the source."""

    PENDING = "pending"  # nothing of it is in the database
    COMMITTED = "committed"  # its rows, its dead letters and its counts committed together


class DeadLetterState(StrEnum):
    """A row that was refused, and what was made of it since. A replay that it fails again leaves it open."""

    OPEN = "open"  # it waits for somebody to look at it
    MENDED = "mended"  # its payload was edited, or somebody says that its cause is mended: it waits for a replay
    REPLAYED = (
        "replayed"  # its row is in the table, or filtered; it counts as a dead letter no more, and stays as a record
    )
    DISCARDED = "discarded"  # somebody has decided that its row stays out of the table; it still counts


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
    DeadLetterState.OPEN: frozenset({DeadLetterState.MENDED, DeadLetterState.REPLAYED, DeadLetterState.DISCARDED}),
    DeadLetterState.MENDED: frozenset({DeadLetterState.OPEN, DeadLetterState.REPLAYED, DeadLetterState.DISCARDED}),
    DeadLetterState.REPLAYED: frozenset(),
    DeadLetterState.DISCARDED: frozenset({DeadLetterState.OPEN, DeadLetterState.MENDED}),
}
