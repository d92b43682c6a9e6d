"""Reading and writing loads in the ledger, for the supervisor; `chunks` has what workers read and write.

Every function takes a connection, runs inside its caller's transaction and never commits.
"""

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from rowledger.errors import Fenced
from rowledger.ledger.bounds import bounds_of, partition_of_bounds
from rowledger.ledger.chunks import fence_load
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.reports import Incident
from rowledger.ledger.states import ChunkState, LoadState
from rowledger.machine import Host
from rowledger.postgres import as_texts, query, together
from rowledger.spec import ChunkPlan, LoadHandle, Manifest, Partition, TableSpec
from rowledger.version import version

__all__ = [
    "ChunkTotals",
    "Holder",
    "Lease",
    "LedgerSide",
    "LoadingLoad",
    "NewLoad",
    "end_load",
    "find_loading_load",
    "hold_lease",
    "insert_load",
    "is_plan_of",
    "read_chunk_fingerprints",
    "read_chunk_totals",
    "read_ledger_side",
    "read_pending_chunks",
    "record_incident",
    "record_spooled_chunk",
    "reopen_load",
    "seal_load",
    "take_over_load",
]


@dataclass(frozen=True, slots=True)
class Holder:
    """The run that works on a load; each run makes one value. The supervisors on its other hosts have its token, too."""

    token: uuid.UUID
    pid: int
    host: Host

    @classmethod
    def this_process(cls) -> "Holder":
        return cls(uuid.uuid4(), os.getpid(), Host.this())


@dataclass(frozen=True, slots=True)
class LoadingLoad:
    """The unfinished load of a partition, as read.

    `is_former`: Rowledger 0.1.0 began it, and no later version has taken it over. `partition` is None where it was
    begun before the ledger recorded bounds.
    """

    handle: LoadHandle
    manifest_digest: str
    contract_digest: str
    partition: Partition | None
    has_staging: bool
    is_former: bool
    lease: "Lease | None"


@dataclass(frozen=True, slots=True)
class Lease:
    """The holder of a load, as read. `renewals` grows every quarter of `lease_s` while the holder lives."""

    token: uuid.UUID
    holder: str
    renewals: int
    lease_s: float
    has_session: bool


@dataclass(frozen=True, slots=True)
class ChunkTotals:
    """Sums over a load's chunks; `unbalanced` counts committed chunks that do not balance."""

    chunks: int
    committed: int
    counts: RowCounts
    discarded_values: int
    unbalanced: int


async def find_loading_load(connection: asyncpg.Connection, target: str, partition_key: str) -> LoadingLoad | None:
    """The partition's unfinished load, or None. Takes no lock."""
    row = await connection.fetchrow(query("find_loading_load"), target, partition_key)
    if row is None:
        return None
    return LoadingLoad(
        handle=LoadHandle(row["load_id"], row["epoch"]),
        manifest_digest=row["manifest_digest"],
        contract_digest=row["contract_digest"],
        partition=partition_of_bounds(partition_key, row["partition"]) if row["partition"] is not None else None,
        has_staging=row["has_staging"],
        is_former=row["is_former"],
        lease=Lease(
            token=row["holder"],
            holder=f"run {row['run_id'] or '-'}, pid {row['holder_pid']} on {row['holder_host']}",
            renewals=row["renewals"],
            lease_s=row["lease_s"],
            has_session=row["has_session"],
        )
        if row["holder"] is not None
        else None,
    )


@dataclass(frozen=True, slots=True)
class NewLoad:
    """A load that has just been recorded. `has_former`: the ledger has no bounds of some load of its partition."""

    handle: LoadHandle
    has_former: bool


async def insert_load(
    connection: asyncpg.Connection,
    spec: TableSpec,
    partition: Partition,
    manifest: Manifest | None,
    run_id: str | None,
    *,
    contract_digest: str,
    holder: Holder,
    lease_s: float,
) -> NewLoad | None:
    """Record the plan of a new load, with all chunks pending, and take its lease; None where the partition is loading already.

    Without a manifest the load is not sealed, and its chunks are recorded as they come.
    """
    row = await connection.fetchrow(
        query("insert_load"),
        spec.name,
        str(spec.target),
        partition.key,
        manifest.digest if manifest else "",
        manifest.enqueued_rows if manifest else 0,
        len(manifest.chunks) if manifest else 0,
        run_id,
        contract_digest,
        manifest is not None,
        version(),
        bounds_of(partition),
        *_as_columns(manifest.chunks if manifest else ()),
        holder.token,
        holder.pid,
        holder.host.name,
        lease_s,
    )
    return None if row is None else NewLoad(LoadHandle(row["load_id"], row["epoch"]), row["has_former"])


async def _insert_chunks(connection: asyncpg.Connection, handle: LoadHandle, chunks: Sequence[ChunkPlan]) -> None:
    """Record chunks as pending; chunks that are recorded already stay as they are."""
    await connection.execute(query("insert_chunks"), handle.load_id, *_as_columns(chunks))


def _as_columns(chunks: Sequence[ChunkPlan]) -> tuple[list[str], ...]:
    """Number, first row, rows, descriptor and digest of each, as the ledger has them."""
    return (
        as_texts(chunk.chunk_no for chunk in chunks),
        as_texts(chunk.first_row for chunk in chunks),
        as_texts(chunk.rows for chunk in chunks),
        [chunk.descriptor.model_dump_json() for chunk in chunks],
        [chunk.descriptor.file_digest for chunk in chunks],
    )


async def reopen_load(connection: asyncpg.Connection, handle: LoadHandle) -> None:
    """Let the load have more chunks than it has now, because its source is read again."""
    await connection.execute(query("reopen_load"), handle.load_id)


async def record_spooled_chunk(
    connection: asyncpg.Connection, handle: LoadHandle, chunk: ChunkPlan
) -> ChunkState | None:
    """Record a chunk of an unsealed load and return its state: pending, or committed by an earlier run.

    Returns None when the ledger has a different chunk under this number. Raises Fenced.
    """
    if not await fence_load(connection, handle):
        raise Fenced(f"load {handle.load_id}, epoch {handle.epoch}: another run has taken it over")
    await _insert_chunks(connection, handle, [chunk])
    state = await connection.fetchval(
        query("state_of_chunk"),
        handle.load_id,
        chunk.chunk_no,
        chunk.first_row,
        chunk.rows,
        chunk.descriptor.file_digest,
    )
    return ChunkState(state) if state is not None else None


async def seal_load(connection: asyncpg.Connection, handle: LoadHandle, manifest: Manifest) -> bool:
    """Complete the manifest of a load whose source has ended; False when the ledger has other chunks than these.

    Chunks that a server crash has undone are recorded again, as pending. Raises Fenced.
    """
    if not await connection.fetchval(query("lock_load"), handle.load_id, handle.epoch):
        raise Fenced(f"load {handle.load_id}, epoch {handle.epoch}: another run has taken it over")
    await _insert_chunks(connection, handle, manifest.chunks)
    if not await is_plan_of(connection, handle, manifest):
        return False
    await connection.execute(
        query("seal_load"), handle.load_id, manifest.digest, manifest.enqueued_rows, len(manifest.chunks)
    )
    return True


async def take_over_load(
    connection: asyncpg.Connection, handle: LoadHandle, partition: Partition, run_id: str | None
) -> LoadHandle | None:
    """Raise the epoch, which fences every earlier holder; None when a rival run was faster.

    A load that was begun before the ledger recorded bounds gets those of the partition.
    """
    epoch = await connection.fetchval(
        query("take_over_load"), handle.load_id, handle.epoch, run_id, version(), bounds_of(partition)
    )
    return LoadHandle(handle.load_id, epoch) if epoch is not None else None


async def hold_lease(connection: asyncpg.Connection, handle: LoadHandle, holder: Holder, lease_s: float) -> None:
    """Take or renew the lease, which tells other runs that this run works on the load."""
    await connection.execute(query("hold_lease"), handle.load_id, holder.token, holder.pid, holder.host.name, lease_s)


async def read_pending_chunks(
    connection: asyncpg.Connection, handle: LoadHandle, manifest: Manifest
) -> tuple[ChunkPlan, ...] | None:
    """Chunks of the manifest that are still to be written, in source order; None where this run does not own the load.

    The positions of their rows come from this manifest, not from the ledger's copy of an earlier one.
    """
    numbers = await connection.fetchval(query("pending_chunks"), handle.load_id, handle.epoch)
    if numbers is None:
        return None
    pending = set(map(int, numbers))
    return tuple(chunk for chunk in manifest.chunks if chunk.chunk_no in pending)


async def is_plan_of(connection: asyncpg.Connection, handle: LoadHandle, manifest: Manifest) -> bool:
    """Whether the chunks in the ledger are those of the manifest."""
    recorded = [tuple(row) for row in await connection.fetch(query("recorded_chunks"), handle.load_id)]
    return recorded == [
        (chunk.chunk_no, chunk.first_row, chunk.rows, chunk.descriptor.file_digest) for chunk in manifest.chunks
    ]


async def read_chunk_totals(connection: asyncpg.Connection, load_id: int) -> ChunkTotals:
    """The ledger's side of the balance."""
    return _totals_of(await connection.fetchrow(query("chunk_totals"), load_id))


def _totals_of(row: Mapping[str, int]) -> ChunkTotals:
    chunks, committed, *counts, discarded_values, unbalanced = row.values()
    return ChunkTotals(chunks, committed, RowCounts(*counts), discarded_values, unbalanced)


async def read_chunk_fingerprints(connection: asyncpg.Connection, load_id: int) -> list[str]:
    """The fingerprints of committed chunks, as JSON text."""
    return [row[0] for row in await connection.fetch(query("chunk_fingerprints"), load_id)]


@dataclass(frozen=True, slots=True)
class LedgerSide:
    """What the ledger has of a load, as of one moment.

    `plan` is the load's own entry about its manifest. `fingerprints` are those of committed chunks, as JSON text.
    """

    plan: Mapping[str, Any]
    totals: ChunkTotals
    dead_letters: int
    chunks_with_other_letters: int
    fingerprints: tuple[str, ...]


async def read_ledger_side(connection: asyncpg.Connection, load_id: int) -> LedgerSide:
    """What a reconcile compares with the plan and with the rows."""
    row = await connection.fetchrow(
        together("recorded_plan", "chunk_totals", "dead_letter_totals", "chunk_fingerprints"), load_id
    )
    (plan,), (totals,), (letters,), fingerprints = map(json.loads, row)
    return LedgerSide(
        plan,
        _totals_of(totals),
        letters["dead_letters"],
        letters["chunks_that_differ"],
        tuple(found["fingerprint"] for found in fingerprints),
    )


async def end_load(connection: asyncpg.Connection, handle: LoadHandle, state: LoadState, verdict: str) -> bool:
    """Set the load's final state, note its entry and release its lease; False when this run no longer owns the load."""
    ended = await connection.fetchval(query("end_load"), handle.load_id, handle.epoch, state, verdict)
    return ended is not None


async def record_incident(
    connection: asyncpg.Connection, incident: Incident, *, load_id: int | None, run_id: str | None
) -> None:
    """Record an incident."""
    await connection.execute(
        query("insert_incident"),
        load_id,
        incident.chunk_no,
        incident.attempt,
        incident.kind,
        incident.pid,
        incident.host,
        incident.exit_code,
        incident.summary,
        incident.stderr_tail,
        run_id,
    )
