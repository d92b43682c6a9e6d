"""A load whose chunks have all committed, as the steps of finishing it need it."""

from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from rowledger.ledger import read_pending_chunks
from rowledger.postgres import OldSnapshots, Target, query
from rowledger.settings import WriterSettings
from rowledger.spec import ChunkPlan, LoadHandle, Manifest, Partition, TableSpec, WriteMode

__all__ = ["ChunksPending", "FinishContext", "read_repeated_load", "require_all_committed"]


@dataclass(frozen=True, slots=True)
class FinishContext:
    """What finishing needs to know of the load."""

    spec: TableSpec
    target: Target
    partition: Partition
    manifest: Manifest
    handle: LoadHandle
    old_snapshots: OldSnapshots
    settings: WriterSettings
    log: Callable[[str], None]

    @property
    def facts(self) -> dict[str, object]:
        """The facts that failpoints can match."""
        return {"partition": self.partition.key}

    @property
    def name(self) -> str:
        """Table and partition, for messages."""
        return f"table {self.spec.name}, partition {self.partition.key}"

    def say(self, message: str) -> None:
        """Log a message about this load."""
        self.log(f"{self.name}: {message}")


class ChunksPending(Exception):
    """Chunks are pending that were reported as committed: they commit without waiting for the disk, and the server crashed."""

    def __init__(self, chunks: tuple[ChunkPlan, ...]) -> None:
        super().__init__()
        self.chunks = chunks


async def require_all_committed(connection: asyncpg.Connection, load: FinishContext) -> bool:
    """Raise ChunksPending where the ledger has chunks that are not committed; False where this run does not own the load."""
    pending = await read_pending_chunks(connection, load.handle, load.manifest)
    if pending:
        raise ChunksPending(pending)
    return pending is not None


async def read_repeated_load(
    connection: asyncpg.Connection, spec: TableSpec, partition: Partition, manifest: Manifest
) -> int | None:
    """The load that has appended the same source rows to this partition; None in other write modes."""
    if spec.write_mode is not WriteMode.APPEND:
        return None
    arguments = (str(spec.target), partition.key, manifest.content_digest)
    found: int | None = await connection.fetchval(query("published_content"), *arguments)
    return found
