"""Verify a table that is on several servers: each against its own ledger, and where the spec places each partition."""

import itertools
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from rowledger.errors import NothingPublished, RowledgerError
from rowledger.ledger import ServerLedger, partition_by_key, read_servers
from rowledger.postgres import TargetServer, server_of
from rowledger.publish.verify import PartitionVerification, run_verify
from rowledger.spec import Partition, TableSpec

__all__ = ["ServersVerification", "run_verify_servers"]


@dataclass(frozen=True, slots=True)
class ServersVerification:
    """The verdicts on partitions, and why servers were not verified."""

    verifications: tuple[PartitionVerification, ...]
    problems: tuple[str, ...]

    def by_partition(self) -> list[PartitionVerification]:
        """One verdict a partition: one that two servers have passes only if both have what they should."""
        ordered = sorted(self.verifications, key=lambda found: found.partition_key)
        return [_together(list(same)) for _, same in itertools.groupby(ordered, lambda found: found.partition_key)]


def run_verify_servers(
    spec: TableSpec,
    *,
    partition_keys: Sequence[str] | None = None,
    partition_of: Callable[[str], Partition] | None = None,
    servers: Sequence[TargetServer] | None = None,
) -> ServersVerification:
    """Verify the published partitions, or the named ones, on all servers of the table, or on these.

    A partition does not pass if its rows are on a server where the spec does not place it, since readers of that server see
    them. The arguments and what it raises are those of `run_verify`, but what one server does not allow is a problem of it.
    """
    ledgers = read_servers(spec, servers, partition_of=partition_of)
    problems = [
        f"table {spec.name}: server {one.server} was not verified: {one.problem}" for one in ledgers if one.problem
    ]
    wanted = None if partition_keys is None else dict.fromkeys(partition_keys)
    verified: list[PartitionVerification] = []
    for one in ledgers:
        try:
            verified += _verify_on(spec, one, wanted, partition_of)
        except RowledgerError as error:
            problems.append(f"table {spec.name}: server {one.server} was not verified: {error}")
    found = {verification.partition_key for verification in verified}
    for key in wanted or ():
        if key not in found:
            verified.append(_not_found(spec, key, partition_of, problems))
    if not verified and not problems:
        asked = ", ".join(str(one.server) for one in ledgers)
        raise NothingPublished(
            f"table {spec.name}: no ledger of its servers has a published partition of {spec.target}, so nothing was "
            f"verified; asked: {asked}"
        )
    return ServersVerification(tuple(verified), tuple(problems))


def _verify_on(
    spec: TableSpec,
    ledger: ServerLedger,
    wanted: Iterable[str] | None,
    partition_of: Callable[[str], Partition] | None,
) -> list[PartitionVerification]:
    published = {
        placed.status.partition_key: placed.misplaced
        for placed in ledger.partitions
        if placed.status.published is not None
        and placed.status.target == str(spec.target)
        and (wanted is None or placed.status.partition_key in wanted)
    }
    verified: list[PartitionVerification] = []
    if own := [key for key, misplaced in published.items() if not misplaced]:
        verified = run_verify(spec, url=ledger.server.url, partition_keys=own, partition_of=partition_of)
    forget = f"rowledger forget --table {shlex.quote(spec.name)} --server {ledger.server.variable}"
    verified += [
        PartitionVerification(
            key,
            (),
            f"{misplaced}. Load it where it belongs; then delete its rows here, and: {forget} --partition {shlex.quote(key)}",
        )
        for key, misplaced in published.items()
        if misplaced
    ]
    return [replace(found, server=ledger.server.variable) for found in verified]


def _not_found(
    spec: TableSpec, key: str, partition_of: Callable[[str], Partition] | None, problems: Sequence[str]
) -> PartitionVerification:
    """The verdict on a named partition that no server has; raises UnknownPartition for a key that the table cannot have."""
    server = server_of(spec, partition_of(key) if partition_of else partition_by_key(spec, key))
    why = (
        "no ledger that could be read has a published load of this partition"
        if problems
        else ("the ledger has no published load of this partition")
    )
    return PartitionVerification(key, (), why, is_published=False, server=server.variable)


def _together(same: Sequence[PartitionVerification]) -> PartitionVerification:
    """The verdict of the server that should have the partition, with what is wrong on the others."""
    own = next((found for found in same if found.checks), same[0])
    others = [found.why_not for found in same if found is not own]
    return replace(own, why_not="; ".join(filter(None, [own.why_not, *others])))
