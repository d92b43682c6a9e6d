"""What the ledgers of a table's servers record of its partitions, and where its spec places each of them."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg

from rowledger.errors import LedgerMissing, RowledgerError, UnknownPartition
from rowledger.ledger.attempts import fetch_status
from rowledger.ledger.bounds import partition_of_bounds
from rowledger.ledger.reader import read_ledger
from rowledger.ledger.status import PartitionStatus
from rowledger.postgres import TargetServer, query, server_of, servers_of
from rowledger.spec import Partition, TableSpec

__all__ = ["PlacedPartition", "ServerLedger", "partition_by_key", "read_servers"]


@dataclass(frozen=True, slots=True)
class PlacedPartition:
    """A partition in a server's ledger. `misplaced` says why it should not be there; empty where the spec places it there."""

    status: PartitionStatus
    partition: Partition
    misplaced: str = ""


@dataclass(frozen=True, slots=True)
class ServerLedger:
    """The table's partitions on one server; a `problem` says why they could not be read."""

    server: TargetServer
    partitions: tuple[PlacedPartition, ...] = ()
    problem: str = ""


def read_servers(
    spec: TableSpec,
    servers: Sequence[TargetServer] | None = None,
    *,
    partition_of: Callable[[str], Partition] | None = None,
) -> list[ServerLedger]:
    """What these servers, or all that the spec names, record of the table; a server without a ledger has nothing.

    A partition that the spec places on another server is left out unless its rows are published: an attempt that has left
    nothing for readers is of no interest once the partition has moved. Two URLs of one database are one server.

    `partition_of` supplies partitions whose bounds the ledger lacks.
    """
    found: list[tuple[TargetServer, str | None, list[tuple[PartitionStatus, Partition]], str]] = []
    for server in servers_of(spec) if servers is None else servers:
        try:
            identity, partitions = _read(server.url, spec, partition_of)
        except LedgerMissing:
            found.append((server, None, [], ""))
        except RowledgerError as error:
            found.append((server, None, [], str(error)))
        else:
            found.append((server, identity, partitions, ""))
    first: dict[str, TargetServer] = {}
    known_as = {server: first.setdefault(identity, server) if identity else server for server, identity, _, _ in found}
    ledgers = []
    for server, _, partitions, problem in found:
        if known_as[server] != server:
            continue
        placed = [
            PlacedPartition(status, partition, _misplaced(spec, partition, server, known_as))
            for status, partition in partitions
        ]
        shown = tuple(each for each in placed if not each.misplaced or each.status.published is not None)
        ledgers.append(ServerLedger(server, shown, problem))
    return ledgers


def _read(
    url: str, spec: TableSpec, partition_of: Callable[[str], Partition] | None
) -> tuple[str | None, list[tuple[PartitionStatus, Partition]]]:
    async def read(connection: asyncpg.Connection) -> tuple[str | None, list[tuple[PartitionStatus, Partition]]]:
        may_identify = await connection.fetchval(query("may_identify_server"))
        identity = await connection.fetchval(query("server_identity")) if may_identify else None
        statuses = await fetch_status(connection, spec.name, None)
        keys = [status.partition_key for status in statuses]
        bounds = dict(await connection.fetch(query("recorded_partitions"), spec.name, keys))
        return identity, [
            (
                status,
                partition_of_bounds(key, bounds[key]) if key in bounds else partition_by_key(spec, key, partition_of),
            )
            for status, key in zip(statuses, keys, strict=True)
        ]

    return read_ledger(url, read)


def partition_by_key(spec: TableSpec, key: str, partition_of: Callable[[str], Partition] | None = None) -> Partition:
    """The partition of a key whose bounds no ledger has, as far as it is known: without them, its key and its dimensions."""
    if partition_of is not None:
        with contextlib.suppress(UnknownPartition):
            return partition_of(key)
    names = sorted(spec.partition_by) if isinstance(spec.partition_by, dict) else []
    parts = key.split("|")
    return Partition(key, dimensions=tuple(zip(names, parts, strict=True)) if len(names) == len(parts) else ())


def _misplaced(
    spec: TableSpec, partition: Partition, server: TargetServer, known_as: dict[TargetServer, TargetServer]
) -> str:
    """Why the server should not have the partition; empty where the spec places it there."""
    try:
        placed = server_of(spec, partition)
    except RowledgerError as error:
        return f"{server} has rows of it, and the spec does not say where it is: {error}"
    if known_as.get(placed, placed) == server:
        return ""
    return f"{server} has rows of it, and the spec places it on {placed}"
