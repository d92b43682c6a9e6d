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
from rowledger.publish.reconcile import Measured, measure_relation
from rowledger.spec import Partition, TableSpec, WriteMode

__all__ = ["Baseline", "CountedRows", "counted_rows_of", "counts_whole_table", "ensure_baseline", "read_expected"]


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
    return CountedRows(partition.key, partition_predicate(target, partition) or "true")


async def ensure_baseline(
    connection: asyncpg.Connection,
    spec: TableSpec,
    target: Target,
    scope: CountedRows,
    *,
    load_id: int,
    fingerprint: bool,
) -> Baseline:
    """The base of the loads in this scope, or, where they have no common base, this load with the rows that it finds."""
    loads = await connection.fetch(query("published_in_scope"), str(spec.target), scope.partition_key)
    bases = {(load["write_mode"], load["base_load_id"]) for load in loads}
    if len(bases) == 1:
        ((write_mode, base_load_id),) = bases
        if write_mode == spec.write_mode and base_load_id is not None:
            return Baseline(base_load_id, None)
    found = await measure_relation(
        connection, target.sql, target.columns, predicate=scope.predicate, fingerprint=fingerprint
    )
    return Baseline(load_id, found)


async def read_expected(
    connection: asyncpg.Connection, loads: Sequence[asyncpg.Record]
) -> tuple[int, Fingerprint | None]:
    """Rows and fingerprint that these published loads add up to; no fingerprint where one of the loads has none."""
    rows = 0
    total: Fingerprint | None = Fingerprint({})
    for load in loads:
        totals = await read_chunk_totals(connection, load["load_id"])
        texts = await read_chunk_fingerprints(connection, load["load_id"])
        rows += totals.counts.written_rows - load["updated_rows"] + (load["found_rows"] or 0)
        is_whole = len(texts) == totals.committed
        if load["found_rows"] is not None:
            is_whole = is_whole and load["found_fingerprint"] is not None
            texts += [load["found_fingerprint"]]
        if load["updated_rows"]:
            is_whole = is_whole and load["replaced_fingerprint"] is not None
        if total is None or not is_whole:
            total = None
            continue
        for text in texts:
            total += Fingerprint.from_json(text)
        if load["updated_rows"]:
            total -= Fingerprint.from_json(load["replaced_fingerprint"])
    return rows, total
