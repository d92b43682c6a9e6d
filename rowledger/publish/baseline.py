"""The sum of several loads of one table: the rows found before the first load, and what each load has added since.

A table that is appended to or upserted has no rows of one load alone. It is compared with a sum: the rows that were
there before the first of these loads (their base), plus the rows that each load has written, minus the rows that
these replaced. The same sum is made of the fingerprints. It holds as long as no other session writes to these rows,
which is what the comparison shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from rowledger.contract import Fingerprint
from rowledger.ledger import read_chunk_fingerprints, read_chunk_totals
from rowledger.postgres import Target, partition_predicate, query
from rowledger.publish.finish_context import FinishContext
from rowledger.publish.reconcile import Measured, measure_relation
from rowledger.spec import Partition, TableSpec, WriteMode

__all__ = [
    "Baseline",
    "CountedRows",
    "counted_rows_of",
    "counts_whole_table",
    "ensure_baseline",
    "measure_target",
    "read_expected",
]


@dataclass(frozen=True, slots=True)
class CountedRows:
    """The rows that a table's loads add up to: those of one partition, or the whole table (`partition_key` is None)."""

    partition_key: str | None
    predicate: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """The load that later loads add to. `found` has the rows before it, if it is the load that asks."""

    load_id: int
    found: Measured | None


def counts_whole_table(spec: TableSpec, partition: Partition, write_mode: WriteMode) -> bool:
    """Whether the partition's rows cannot be distinguished from those of other partitions, or do not remain so.

    An upsert whose key does not contain the partition column may move a row from one partition to another.
    """
    may_move = write_mode is WriteMode.UPSERT and not set(partition.columns) <= set(spec.key)
    return may_move or not partition.identifies_rows


def counted_rows_of(spec: TableSpec, target: Target, partition: Partition, write_mode: WriteMode) -> CountedRows:
    """The partition, where its rows can be distinguished and stay in it; otherwise the whole table."""
    if counts_whole_table(spec, partition, write_mode):
        return CountedRows(None, "true")
    return CountedRows(partition.key, partition_predicate(target, partition))


async def measure_target(connection: asyncpg.Connection, load: FinishContext, predicate: str) -> Measured:
    """What the target, named `target`, has of rows for which the predicate is true."""
    target = load.target
    return await measure_relation(
        connection,
        f"{target.sql} as target",
        target.columns,
        predicate=predicate,
        fingerprint=load.settings.fingerprint,
    )


async def ensure_baseline(connection: asyncpg.Connection, load: FinishContext, scope: CountedRows) -> Baseline:
    """The base of the loads in this scope, or, where they have no common base, this load with the rows that it finds."""
    loads = await connection.fetch(query("published_in_scope"), str(load.spec.target), scope.partition_key)
    bases = {(load["write_mode"], load["base_load_id"]) for load in loads}
    if len(bases) == 1:
        ((write_mode, base_load_id),) = bases
        if write_mode == load.spec.write_mode and base_load_id is not None:
            return Baseline(base_load_id, None)
    return Baseline(load.handle.load_id, await measure_target(connection, load, scope.predicate))


async def read_expected(
    connection: asyncpg.Connection, loads: Sequence[asyncpg.Record]
) -> tuple[int, Fingerprint | None]:
    """Rows and fingerprint that these published loads add up to; no fingerprint where one of the loads has none."""
    rows = 0
    total: Fingerprint | None = Fingerprint({})
    for load in loads:
        totals = await read_chunk_totals(connection, load["load_id"])
        rows += totals.counts.written_rows - load["updated_rows"] + (load["found_rows"] or 0)
        added = await read_chunk_fingerprints(connection, load["load_id"])
        is_whole = len(added) == totals.committed
        added += [] if load["found_rows"] is None else [load["found_fingerprint"]]
        replaced = [load["replaced_fingerprint"]] if load["updated_rows"] else []
        if total is None or not is_whole or None in (*added, *replaced):
            total = None
            continue
        for text in added:
            total += Fingerprint.from_json(text)
        for text in replaced:
            total -= Fingerprint.from_json(text)
    return rows, total
