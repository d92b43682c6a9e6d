"""Begin the load of one partition: a new one, or the unfinished one of an earlier run."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from pipeline.errors import PartitionBusy
from pipeline.model.manifest import ChunkPlan, Manifest
from pipeline.model.partition import Partition
from pipeline.model.states import LoadState
from pipeline.model.table import TableSpec
from pipeline.operations.control import Control
from pipeline.postgres.catalogue import Target, create_staging, drop_staging
from pipeline.postgres.ledger import (
    Holder,
    LoadHandle,
    end_load,
    find_loading_load,
    hold_lease,
    insert_load,
    read_pending_chunks,
    take_over_load,
    terminate_sessions,
)
from pipeline.postgres.session import transaction
from pipeline.settings import WriterSettings

__all__ = ["BegunLoad", "begin_load"]

_BUSY_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class BegunLoad:
    """A load that is ours: its handle, and the chunks still to be written."""

    handle: LoadHandle
    pending: tuple[ChunkPlan, ...]
    resumed: bool


async def begin_load(
    control: Control,
    spec: TableSpec,
    target: Target,
    partition: Partition,
    manifest: Manifest,
    *,
    holder: Holder,
    run_id: str | None,
    settings: WriterSettings,
    say: Callable[[str], None],
) -> BegunLoad:
    """Record the manifest, or take the unfinished load over; raises PartitionBusy when another run keeps working on it."""
    digest = _contract_digest(spec, target, settings)
    give_up_at = time.monotonic() + settings.busy_wait_s
    said = False
    while True:
        begun = await control.transaction(
            f"partition {partition.key}: begin",
            lambda connection: _try_begin(
                connection, spec, target, partition, manifest, digest, holder, run_id, settings
            ),
            # On disk before anyone knows it: a crash that undid it could give number and epoch away a second time.
            durable=True,
        )
        if isinstance(begun, BegunLoad):
            return begun
        if time.monotonic() >= give_up_at:
            raise PartitionBusy(
                f"table {spec.name}, partition {partition.key} is being loaded by {begun}, and still was after "
                f"{settings.busy_wait_s} s; wait for that run or cancel it, then rerun"
            )
        if not said:
            said = True
            say(f"partition {partition.key} is being loaded by {begun}; waiting up to {settings.busy_wait_s} s")
        await asyncio.sleep(_BUSY_POLL_S)


async def _try_begin(
    connection: asyncpg.Connection,
    spec: TableSpec,
    target: Target,
    partition: Partition,
    manifest: Manifest,
    contract_digest: str,
    holder: Holder,
    run_id: str | None,
    settings: WriterSettings,
) -> BegunLoad | str:
    """The load, or the name of whoever is at work on it."""
    found = await find_loading_load(connection, str(spec.target), partition.key)
    if found is not None:
        if found.is_held and found.holder_token != holder.token:
            return found.holder
        if found.holder_token is not None and found.holder_token != holder.token:
            await terminate_sessions(connection, found.holder_token)
        mine = await take_over_load(connection, found.handle, run_id)
        if mine is None:
            return "another run that was faster"
        planned_alike = (found.manifest_digest, found.contract_digest) == (manifest.digest, contract_digest)
        if planned_alike and found.has_staging:
            await hold_lease(connection, mine, holder, settings.lease_s)
            return BegunLoad(mine, await read_pending_chunks(connection, mine, manifest), resumed=True)
        await end_load(connection, mine, LoadState.ABANDONED, "source, contract or cut into chunks have changed")
        await drop_staging(connection, mine.staging_table)
    try:
        async with transaction(connection):
            handle = await insert_load(
                connection, spec, partition.key, manifest, run_id, contract_digest=contract_digest
            )
    except asyncpg.UniqueViolationError:
        return "another run that was faster"
    await create_staging(connection, target, handle, partition)
    await hold_lease(connection, handle, holder, settings.lease_s)
    return BegunLoad(handle, manifest.chunks, resumed=False)


def _contract_digest(spec: TableSpec, target: Target, settings: WriterSettings) -> str:
    """SHA-256 over what decides, beside the source, which rows are staged and how they are compared."""
    columns = [(column.name, column.type.sql, column.nullable) for column in target.columns]
    facts = [spec.row.model_json_schema(), spec.key, columns, settings.fingerprint]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
