"""A load whose chunks have all committed, as the steps of finishing it need it."""

from dataclasses import dataclass

import asyncpg

from rowledger.postgres import OldSnapshots, Target, query
from rowledger.spec import LoadHandle, Manifest, Partition, TableSpec, WriteMode

__all__ = ["FinishedLoad", "read_repeated_load"]


@dataclass(frozen=True, slots=True)
class FinishedLoad:
    """What finishing needs to know of the load."""

    spec: TableSpec
    target: Target
    partition: Partition
    manifest: Manifest
    handle: LoadHandle
    old_snapshots: OldSnapshots

    @property
    def facts(self) -> dict[str, object]:
        """The facts that failpoints can match."""
        return {"partition": self.partition.key}

    @property
    def name(self) -> str:
        """Table and partition, for messages."""
        return f"table {self.spec.name}, partition {self.partition.key}"


async def read_repeated_load(
    connection: asyncpg.Connection, spec: TableSpec, partition: Partition, manifest: Manifest
) -> int | None:
    """The load that has appended the same source rows to this partition; None in other write modes."""
    if spec.write_mode is not WriteMode.APPEND:
        return None
    arguments = (str(spec.target), partition.key, manifest.content_digest)
    found: int | None = await connection.fetchval(query("published_content"), *arguments)
    return found
