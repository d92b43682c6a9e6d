"""Verify: compare what is in the target now with what the ledger says was published."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import asyncpg

from rowledger.contract import Contract, Fingerprint
from rowledger.counted import counted
from rowledger.errors import NothingPublished, TargetMismatch, UnknownPartition
from rowledger.ledger import (
    Check,
    CheckName,
    ChunkTotals,
    PartitionsOfLoads,
    RowCounts,
    ledger_reader,
    read_changed_entries,
    read_chunk_totals,
    record_found_bounds,
)
from rowledger.postgres import Target, partition_predicate, query, read_target, with_columns
from rowledger.publish.baseline import counted_rows_of, counts_whole_table, read_expected
from rowledger.publish.former_loads import adapt_expected
from rowledger.publish.reconcile import (
    Measured,
    budget_check,
    fingerprint_check,
    measure_relation,
)
from rowledger.settings import WriterSettings
from rowledger.spec import Drift, Partition, TableSpec, WriteMode, former_columns

__all__ = ["PartitionVerification", "run_verify", "verify_partition", "verify_published"]

_SHARE_OF_LOCKS = 8  # a transaction may take one part in this many of the server's locks


@dataclass(frozen=True, slots=True)
class PartitionVerification:
    """Whether a published partition still is what was published; `why_not` says why it could not be compared at all.

    `budget` compares its dead letters with what the spec allows now, and is not part of the verdict. `server` is the variable
    that names its server, where the table is on several.
    """

    partition_key: str
    checks: tuple[Check, ...]
    why_not: str = ""
    budget: Check | None = None
    is_published: bool = True
    server: str = ""

    @property
    def passed(self) -> bool:
        return bool(self.checks) and not self.problems

    @property
    def problems(self) -> list[str]:
        """What differs, or why nothing was compared."""
        failed = [f"{check.name}: {check.summary}" for check in self.checks if not check.passed]
        return [self.why_not, *failed] if self.why_not else failed


def run_verify(
    spec: TableSpec,
    *,
    url: str,
    partition_keys: Sequence[str] | None = None,
    partition_of: Callable[[str], Partition] | None = None,
) -> list[PartitionVerification]:
    """Verify the published partitions of a table, or the named ones; a named partition that is not published does not pass.

    `partition_of` supplies partitions whose bounds the ledger lacks.

    Raises UnknownPartition for a key that the table cannot have, NothingPublished where no partition of the table is
    published.
    """
    keys = list(dict.fromkeys(partition_keys)) if partition_keys is not None else None
    return asyncio.run(_verify_partitions(spec, url, keys, partition_of))


async def _verify_partitions(
    spec: TableSpec, url: str, keys: Sequence[str] | None, partition_of: Callable[[str], Partition] | None
) -> list[PartitionVerification]:
    partitions = PartitionsOfLoads(spec, partition_of)
    async with ledger_reader(url, purpose="verify", limits=WriterSettings(), target=spec.target) as connection:
        published = await connection.fetch(query("published_loads"), str(spec.target), None)
        if partition_of is not None:
            recorded = {str(load["partition_key"]) for load in published}
            for key in keys or ():
                if key not in recorded:
                    partition_of(key)  # raises UnknownPartition for a key that the table cannot have
        if not published:
            raise NothingPublished(
                f"table {spec.name}: the ledger has no published partition of {spec.target}, so nothing was verified"
            )
        # One snapshot: a partition that is published meanwhile is seen in the ledger and in the table, or in neither.
        target = await read_target(connection, spec, Contract.of(spec.row).columns)
        if target is None:
            raise TargetMismatch(f"table {spec.target} is missing, though the ledger has published loads of it")
        wanted = [load for load in published if keys is None or str(load["partition_key"]) in keys]
        waves = await _waves(connection, spec, target, wanted, partitions)
        verified = await verify_published(connection, spec, target, waves[0], partitions) if len(waves) == 1 else []
    if len(waves) > 1:
        for wave in waves:
            async with ledger_reader(url, purpose="verify", limits=WriterSettings(), target=spec.target) as connection:
                verified += await verify_published(connection, spec, target, wave, partitions)
    await record_found_bounds(url, partitions)
    found = {verification.partition_key for verification in verified}
    return verified + [
        PartitionVerification(key, (), "the ledger has no published load of this partition", is_published=False)
        for key in keys or ()
        if key not in found
    ]


async def _waves(
    connection: asyncpg.Connection,
    spec: TableSpec,
    target: Target,
    loads: Sequence[asyncpg.Record],
    partitions: PartitionsOfLoads,
) -> list[list[str]]:
    """The partition keys of these loads, in groups that one transaction can read.

    A transaction keeps a lock on each partition and index that it has read, and the server has a limited number of
    locks. Where the loads are compared with the whole table, it is read at once in any case.
    """
    keys = list(dict.fromkeys(str(load["partition_key"]) for load in loads))
    is_whole = False
    for load in loads:
        with contextlib.suppress(UnknownPartition):  # reported when the partition is verified
            mode = WriteMode(load["write_mode"])
            if load["base_load_id"] is not None and counts_whole_table(spec, partitions.of(load), mode):
                is_whole = True
    if target.strategy is None or is_whole:
        return [keys]
    room = await connection.fetchrow(query("lock_room"), target.oid)
    size = max(1, room["locks"] // _SHARE_OF_LOCKS // room["locks_of_partition"])
    return [keys[first : first + size] for first in range(0, len(keys), size)]


async def verify_partition(
    connection: asyncpg.Connection, spec: TableSpec, target: Target, partition: Partition
) -> PartitionVerification:
    """Compare a published partition, whatever the ledger knows of its bounds, with what its loads have written."""
    partitions = PartitionsOfLoads(spec, lambda _key: partition)
    (verification,) = await verify_published(connection, spec, target, [partition.key], partitions)
    return verification


async def verify_published(
    connection: asyncpg.Connection,
    spec: TableSpec,
    target: Target,
    partition_keys: Sequence[str] | None,
    partitions: PartitionsOfLoads,
) -> list[PartitionVerification]:
    """Compare each published partition, or some of them, with what its loads have written. Takes no lock."""
    loads = await connection.fetch(query("published_loads"), str(spec.target), partition_keys)
    if spec.drift is Drift.EVOLVE:
        names = await connection.fetch(query("published_columns"), str(spec.target))
        former = former_columns(spec.row)
        target = await with_columns(connection, target, [former.get(row["name"], row["name"]) for row in names])
    comparing = _Comparing(connection, spec, target, partitions)
    changed = {entry.load_id for entry in await read_changed_entries(connection, spec, published=True)}
    verifications = []
    for key, own in itertools.groupby(loads, key=lambda load: str(load["partition_key"])):
        try:
            verifications.append(await _verify(comparing, key, list(own), changed))
        except UnknownPartition as unknown:
            verifications.append(
                PartitionVerification(key, (), f"published, but its rows are not known: {unknown.known}")
            )
        except TargetMismatch as mismatch:  # the spec has changed since the partition was published
            verifications.append(PartitionVerification(key, (), f"published, but it cannot be compared: {mismatch}"))
    return verifications


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Expected and found rows of one partition, or of the whole table where partitions cannot be distinguished."""

    expected_rows: int
    expected: Fingerprint | None
    found: Measured
    is_whole: bool = False
    note: str = ""


@dataclass(slots=True)
class _Comparing:
    """Measures the table. What serves many partitions at once is measured once."""

    connection: asyncpg.Connection
    spec: TableSpec
    target: Target
    partitions: PartitionsOfLoads
    whole: dict[int, _Comparison] = field(default_factory=dict)

    async def of(self, loads: Sequence[asyncpg.Record]) -> _Comparison | None:
        """Compare these loads; None where loads of several write modes have changed the same rows, so that no sum applies."""
        partition = self.partitions.of(loads[-1])
        bases = {
            load["base_load_id"]: WriteMode(load["write_mode"]) for load in loads if load["base_load_id"] is not None
        }
        if not bases:  # a replacement stands alone
            predicate = partition_predicate(self.target, partition)
            return await self._compare(predicate, loads[-1:], is_whole=False)
        base = max(bases)
        scope = counted_rows_of(self.spec, self.target, partition, bases[base])
        if base in self.whole:
            return self.whole[base]
        counted = await self.connection.fetch(query("published_in_scope"), str(self.spec.target), scope.partition_key)
        if any((load["base_load_id"] or load["load_id"]) > base for load in counted if load["base_load_id"] != base):
            return None
        added_up = [load for load in counted if load["base_load_id"] == base]
        comparison = await self._compare(scope.predicate, added_up, is_whole=scope.partition_key is None)
        if comparison.is_whole:
            self.whole[base] = comparison
        return comparison

    async def _compare(self, predicate: str, loads: Sequence[asyncpg.Record], *, is_whole: bool) -> _Comparison:
        """Compare the rows for which the predicate is true with what these loads add up to."""
        columns = self.target.columns
        expected_rows, expected = await read_expected(self.connection, loads)
        found = await measure_relation(
            self.connection, self.target.sql, columns, predicate=predicate, fingerprint=expected is not None
        )
        note = ""
        if expected is not None and found.fingerprint is not None:
            expected = expected.renamed(former_columns(self.spec.row))
            # A column that the contract has since gained is null in older rows; one that it has lost is no longer
            # compared.
            expected = Fingerprint({column.name: expected.get(column.name, (0, 0)) for column in columns})
            load_ids = [load["load_id"] for load in loads]
            expected, note = await adapt_expected(
                self.connection, self.target.sql, columns, predicate, load_ids, expected, found.fingerprint
            )
        return _Comparison(expected_rows, expected, found, is_whole, note)


async def _verify(
    comparing: _Comparing, partition_key: str, loads: Sequence[asyncpg.Record], changed: Collection[int]
) -> PartitionVerification:
    problems = [
        f"the ledger's entry of load {load['load_id']} was changed by hand since Rowledger wrote it"
        for load in loads
        if load["load_id"] in changed
    ]
    counts = RowCounts()
    dead_letters = 0
    budgets: list[Check] = []
    for load in loads:
        totals = await read_chunk_totals(comparing.connection, load["load_id"])
        letters = await comparing.connection.fetchrow(query("dead_letter_totals"), load["load_id"])
        problems += _ledger_problems(load["enqueued_rows"], totals, letters)
        counts += totals.counts
        dead_letters += letters["dead_letters"]
        budgets.append(budget_check(comparing.spec, totals.counts.enqueued_rows, letters["dead_letters"]))
    comparison = await comparing.of(loads)
    summary = f"{counts.enqueued_rows} enqueued, {counts.written_rows} written, {dead_letters} dead-lettered"
    details: dict[str, int | str] = {"rows written": counts.written_rows}
    if comparison is None:
        summary += "; the table is not compared, since its write mode has changed between its loads"
    else:
        where = "in the whole table" if comparison.is_whole else "in the table"
        found_rows, expected_rows = comparison.found.rows, comparison.expected_rows
        if found_rows != expected_rows:
            written = (
                "were written"
                if len(loads) == 1 and expected_rows == counts.written_rows
                else "are what the loads add up to"
            )
            problems.append(f"{counted(found_rows, 'row')} {where}, {expected_rows} {written}")
        summary += f"; {counted(found_rows, 'row')} {where}, as it should be"
        details["rows in the table"] = found_rows
    checks = [
        Check(CheckName.ROW_BALANCE, passed=not problems, summary="; ".join(problems) or summary, details=details)
    ]
    if comparison is not None and comparison.expected is not None:
        check = fingerprint_check(comparison.expected, comparison.found.fingerprint)
        checks.append(replace(check, summary=f"{check.summary}; {comparison.note}") if comparison.note else check)
    budget = next((budget for budget in budgets if not budget.passed), budgets[-1])
    return PartitionVerification(partition_key, tuple(checks), budget=budget)


def _ledger_problems(enqueued_rows: int, totals: ChunkTotals, letters: asyncpg.Record) -> list[str]:
    """Sentences about a load's figures that do not agree."""
    problems = []
    if letters["dead_letters"] != totals.counts.dead_lettered_rows or letters["chunks_that_differ"]:
        problems.append(
            f"{counted(letters['dead_letters'], 'dead letter')} kept, but {totals.counts.dead_lettered_rows} recorded"
        )
    counts = totals.counts
    if enqueued_rows != counts.enqueued_rows or not counts.balances() or totals.unbalanced:
        problems.append(
            f"{counted(enqueued_rows, 'row')} enqueued by the load, {counts.enqueued_rows} by its chunks, "
            f"{counts.written_rows} written and {counts.dead_lettered_rows} dead-lettered by the ledger"
        )
    return problems
