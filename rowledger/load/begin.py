"""Begin the load of one partition: a new load, or the unfinished load of an earlier run."""

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg

from rowledger.errors import Fenced, PartitionBusy
from rowledger.ledger import (
    BLOCK_MIGRATIONS,
    Lease,
    LoadingLoad,
    LoadState,
    discard_staging,
    end_load,
    find_loading_load,
    hold_lease,
    insert_load,
    is_plan_of,
    read_pending_chunks,
    record_bounds_of_former,
    reopen_load,
    require_current_ledger,
    take_over_load,
    terminate_sessions,
)
from rowledger.load.run_context import RunContext
from rowledger.postgres import (
    LEDGER_SCHEMA,
    Target,
    align_staging,
    brief_locks,
    create_staging,
    has_stale_checks,
    quoted,
    read_staging_changes,
    with_numbers,
)
from rowledger.publish import has_long_values
from rowledger.settings import WriterSettings
from rowledger.spec import ChunkPlan, LoadHandle, Manifest, Partition, TableSpec, column_names

__all__ = ["Beginning", "BegunLoad"]

_BUSY_POLL_S = 0.5
_FASTER = "another run that was faster"
_CHANGED = "source, contract, bounds, plan or staging table have changed, or another role has staged it"
_FROZEN_LOCK_TIMEOUT_S = 1


@dataclass(frozen=True, slots=True)
class BegunLoad:
    """A load that this run owns: its handle, and the chunks still to be written."""

    handle: LoadHandle
    pending: tuple[ChunkPlan, ...]
    resumed: bool


class _LeaseWatch:
    """Judges by a lease's renewals whether its holder lives. Time is measured here, since the server's clock may be set."""

    def __init__(self) -> None:
        self._seen: tuple[uuid.UUID, int] | None = None
        self._seen_at = 0.0

    def is_live(self, lease: Lease) -> bool:
        """Whether the holder counts as alive: it has a session, and has renewed within its own `lease_s`."""
        if not lease.has_session:
            return False
        if self._seen != (lease.token, lease.renewals):
            self._seen, self._seen_at = (lease.token, lease.renewals), time.monotonic()
        return time.monotonic() - self._seen_at < lease.lease_s


class Beginning:
    """One run's attempts to begin one load. `manifest` is None for a source that is loaded while it still produces."""

    def __init__(self, run: RunContext, target: Target, partition: Partition, manifest: Manifest | None) -> None:
        self._spec = run.request.spec
        self._target = target
        self._partition = partition
        self._manifest = manifest
        self._sessions = run.sessions
        self._holder = run.holder
        self._run_id = run.request.run_id
        self._limits = run.request.writer
        self._contract_digest = _contract_digest(self._spec, run.signature, target, self._limits)
        self._watch = _LeaseWatch()

    async def begin(self, say: Callable[[str], None]) -> BegunLoad:
        """Record a new load, or take over the unfinished one; raises PartitionBusy when another run keeps working on it."""
        key = self._partition.key
        give_up_at = time.monotonic() + self._limits.busy_wait_s
        said = False
        while True:
            # Durable, because after a crash that undid it, number and epoch could be assigned a second time.
            begun = await self._sessions.transaction(
                f"partition {key}: begin", self._attempt, durable=True, first=BLOCK_MIGRATIONS
            )
            if isinstance(begun, BegunLoad):
                return begun
            if time.monotonic() >= give_up_at:
                raise PartitionBusy(
                    f"table {self._spec.name}, partition {key} is being loaded by {begun}, and still was after "
                    f"{self._limits.busy_wait_s} s; wait for that run or cancel it, then rerun"
                )
            if not said:
                said = True
                say(f"partition {key} is being loaded by {begun}; waiting up to {self._limits.busy_wait_s} s")
            await asyncio.sleep(_BUSY_POLL_S)

    async def start_over(self, handle: LoadHandle) -> BegunLoad:
        """Abandon a load of this run, and begin a new one in its place."""
        begun = await self._sessions.transaction(
            f"partition {self._partition.key}: start over",
            lambda connection: self._begin_in_place_of(connection, handle),
            durable=True,
            # A chunk that commits meanwhile is waited for before the load's digest is taken, not while it is.
            first=with_numbers("lock_load", handle.load_id, handle.epoch),
        )
        if isinstance(begun, str):
            raise Fenced(f"load {handle.load_id}: {begun} has taken the partition over")
        return begun

    async def _attempt(self, connection: asyncpg.Connection) -> BegunLoad | str:
        """The load, or a phrase that names the run at work on it."""
        await require_current_ledger(connection)
        # Most partitions have no unfinished load, so none is looked for first.
        if (begun := await self._begin_anew(connection)) is not None:
            return begun
        # A rival's load; or this run's, when the COMMIT of an earlier attempt seemed lost and came late.
        found = await find_loading_load(connection, str(self._spec.target), self._partition.key)
        if found is None:
            return _FASTER
        lease = found.lease
        if lease is not None and lease.token != self._holder.token:
            if self._watch.is_live(lease):
                return lease.holder
            if left := await terminate_sessions(connection, lease.token):
                return await self._take_over_beside(connection, found, lease, left)
        return await self._take_over(connection, found)

    async def _take_over_beside(
        self, connection: asyncpg.Connection, found: LoadingLoad, lease: Lease, left: Sequence[str]
    ) -> BegunLoad | str:
        """Take the load over from a dead or frozen run of another role, whose sessions this role may not terminate.

        The epoch fences them all the same. Only a session in the middle of a chunk locks the load's row, and this
        waits for it only briefly.
        """
        try:
            async with brief_locks(connection, _FROZEN_LOCK_TIMEOUT_S):
                mine = await take_over_load(connection, found.handle, self._partition, self._run_id)
        except asyncpg.LockNotAvailableError:
            return (
                f"{lease.holder}, which does not answer but has {', '.join(left)} in the middle of a chunk; this role may not "
                "end that: its own role may, or one that is granted pg_signal_backend, by select pg_terminate_backend(…)"
            )
        return await self._go_on(connection, found, mine)

    async def _take_over(self, connection: asyncpg.Connection, found: LoadingLoad) -> BegunLoad | str:
        return await self._go_on(
            connection, found, await take_over_load(connection, found.handle, self._partition, self._run_id)
        )

    async def _go_on(
        self, connection: asyncpg.Connection, found: LoadingLoad, mine: LoadHandle | None
    ) -> BegunLoad | str:
        """Continue with the load that this run has taken over, or with a new one in its place."""
        if mine is None:
            return _FASTER
        if await self._can_resume(connection, found):
            await hold_lease(connection, mine, self._holder, self._limits.lease_s)
            if self._manifest is None:
                await reopen_load(connection, mine)
                return BegunLoad(mine, (), resumed=True)
            pending = await read_pending_chunks(connection, mine, self._manifest)
            return BegunLoad(mine, pending or (), resumed=True)
        return await self._begin_in_place_of(connection, mine)

    async def _begin_in_place_of(self, connection: asyncpg.Connection, changed: LoadHandle) -> BegunLoad | str:
        await end_load(connection, changed, LoadState.ABANDONED, _CHANGED)
        await discard_staging(connection, changed.staging_table)
        return await self._begin_anew(connection) or _FASTER

    async def _can_resume(self, connection: asyncpg.Connection, found: LoadingLoad) -> bool:
        """Whether what the load has staged is part of what this run stages."""
        is_alike = found.contract_digest == self._contract_digest and found.partition in (None, self._partition)
        if not (found.has_staging and is_alike):
            return False
        if await read_staging_changes(
            connection, self._target, found.handle, self._partition, column_names(self._spec.row)
        ):
            return False
        if await has_stale_checks(connection, self._target, found.handle):
            return False
        if found.is_former and await has_long_values(
            connection, quoted(LEDGER_SCHEMA, found.handle.staging_table), self._target.as_found.columns
        ):
            return False  # the sums of its chunks would differ from those of the table
        if self._manifest is None:
            return True  # each chunk is compared with the ledger's as it comes
        return found.manifest_digest == self._manifest.digest and await is_plan_of(
            connection, found.handle, self._manifest
        )

    async def _begin_anew(self, connection: asyncpg.Connection) -> BegunLoad | None:
        """A new load; None where the partition has one that is loading."""
        new = await insert_load(
            connection,
            self._spec,
            self._partition,
            self._manifest,
            self._run_id,
            contract_digest=self._contract_digest,
            holder=self._holder,
            lease_s=self._limits.lease_s,
        )
        if new is None:
            return None
        if new.has_former:
            await record_bounds_of_former(connection, str(self._spec.target), self._partition)
        await create_staging(connection, self._target, new.handle, self._partition)
        if self._target.added:
            await align_staging(connection, self._target, new.handle)
        return BegunLoad(new.handle, self._manifest.chunks if self._manifest else (), resumed=False)


def _contract_digest(spec: TableSpec, signature: str, target: Target, settings: WriterSettings) -> str:
    """SHA-256 over what decides, besides the source, which rows are staged and how they are compared."""
    columns = [(column.name, column.type.sql, column.nullable) for column in target.columns]
    facts = [
        signature,
        spec.key,
        columns,
        settings.fingerprint,
        spec.drift,
        spec.transform.source_code if spec.transform is not None else None,
        *([] if (written := spec.source.number_format) is None else [written.decimal, written.thousands]),
        *spec.source.date_notations,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
