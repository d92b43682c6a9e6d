"""Forget published loads: the ledger no longer answers for their rows. The rows stay, and may be appended again."""

import asyncio
from collections.abc import Callable, Sequence

import asyncpg

from rowledger.contract import Contract
from rowledger.errors import NothingPublished, PartitionBusy
from rowledger.ledger import PartitionsOfLoads, ledger_session, note_entries, read_changed_entries
from rowledger.postgres import query, read_target
from rowledger.publish.baseline import counts_whole_table
from rowledger.settings import WriterSettings
from rowledger.spec import Partition, TableSpec, WriteMode

__all__ = ["run_forget"]


def run_forget(
    spec: TableSpec,
    *,
    url: str,
    partition_keys: Sequence[str] | None = None,
    partition_of: Callable[[str], Partition] | None = None,
    dry_run: bool = False,
) -> list[tuple[int, str]]:
    """Forget the published loads of a table, or of some partitions; returns each load's id and partition.

    With `dry_run` it returns those that it would forget, and changes nothing.

    Where the rows of a partition cannot be distinguished from those of others, all loads of the table are forgotten,
    because they add up together. `partition_of` supplies partitions whose bounds the ledger lacks.

    Raises PartitionBusy while a run loads the table, UnknownPartition for unknown keys and unknown bounds, and
    NothingPublished where there is nothing to forget.
    """
    return asyncio.run(_forget(spec, url, partition_keys, partition_of, dry_run=dry_run))


async def _forget(
    spec: TableSpec,
    url: str,
    partition_keys: Sequence[str] | None,
    partition_of: Callable[[str], Partition] | None,
    *,
    dry_run: bool,
) -> list[tuple[int, str]]:
    forgetting = ledger_session(url, purpose="forget", doing="rowledger forget", writes=True, limits=WriterSettings())
    async with forgetting as session:
        connection = session.connection
        keys = list(dict.fromkeys(partition_keys)) if partition_keys else None
        loads = await connection.fetch(query("published_loads"), str(spec.target), keys)
        edited = await read_changed_entries(connection, spec)
        known = {*(load["partition_key"] for load in loads), *(entry.partition_key for entry in edited)}
        if missing := [key for key in keys or () if key not in known]:
            if partition_of is not None:
                for key in missing:
                    partition_of(key)
            raise NothingPublished(
                f"table {spec.name}: no published load of partition {', '.join(missing)} is in the ledger; "
                "nothing was forgotten"
            )
        if not known:
            raise NothingPublished(f"table {spec.name}: the ledger has no published load; nothing was forgotten")
        if keys is not None:
            await read_target(connection, spec, Contract.of(spec.row).columns)  # raises where rows may be hidden
            if spec.write_mode is not WriteMode.REPLACE:
                partitions = PartitionsOfLoads(spec, partition_of)
                if any(counts_whole_table(spec, partitions.of(load), spec.write_mode) for load in loads):
                    keys = None
        if dry_run:
            return _named(await connection.fetch(query("published_loads"), str(spec.target), keys))
        async with session.transaction():
            if await connection.fetchval(query("is_being_loaded"), str(spec.target)):
                raise PartitionBusy(f"table {spec.name} is being loaded; forget its loads when that run has ended")
            forgotten = await connection.fetch(query("forget_loads"), str(spec.target), keys)
            # The ledger no longer answers for entries that were edited by hand either.
            changed = [entry.load_id for entry in await read_changed_entries(connection, spec)]
            await note_entries(connection, [*(row["load_id"] for row in forgotten), *changed])
    return _named(forgotten)


def _named(loads: Sequence[asyncpg.Record]) -> list[tuple[int, str]]:
    return sorted((load["load_id"], load["partition_key"]) for load in loads)
