"""Verify: hold what is in the target now against what the ledger says was published."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from pipeline.contract.check import Contract
from pipeline.model.report import Check, CheckName
from pipeline.model.table import TableSpec
from pipeline.operations.reconcile import fingerprint_check, measure_relation, read_ledger_fingerprint
from pipeline.postgres.catalogue import Target, ensure_target, partition_predicate, quoted
from pipeline.postgres.ledger import read_chunk_totals
from pipeline.postgres.migrate import ensure_ledger
from pipeline.postgres.queries import query
from pipeline.postgres.session import check_server, connect
from pipeline.settings import WriterSettings

__all__ = ["PartitionVerification", "run_verify", "verify_partitions"]


@dataclass(frozen=True, slots=True)
class PartitionVerification:
    """Whether one published partition still is what was published."""

    partition_key: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def run_verify(
    spec: TableSpec, *, url: str, partition_keys: Sequence[str] | None = None
) -> list[PartitionVerification]:
    """Verify the published partitions of a table, or some of them; partitions without a published load are left out."""
    return asyncio.run(verify_partitions(spec, url=url, partition_keys=partition_keys))


async def verify_partitions(
    spec: TableSpec, *, url: str, partition_keys: Sequence[str] | None = None
) -> list[PartitionVerification]:
    """`run_verify` for callers that have an event loop of their own."""
    limits = WriterSettings()
    session = await connect(url, application_name="rowledger verify", timeout_s=limits.connect_timeout_s)
    try:
        async with asyncio.timeout(limits.statement_timeout_s):
            await check_server(session)
            await ensure_ledger(session.connection)
            if not await session.connection.fetch(query("published_loads"), str(spec.target), None):
                return []  # and nothing to create a table for
            target = await ensure_target(session.connection, spec, Contract.of(spec.row).columns)
            # One snapshot: a partition that is published meanwhile is seen in the ledger and in the table, or in neither. The
            # lock comes before the snapshot, because a partition that is swapped in shows its rows to older snapshots too.
            async with session.connection.transaction(isolation="repeatable_read", readonly=True):
                name = quoted(target.name.schema_name, target.name.table)
                await session.connection.execute(f"lock table {name} in access share mode")
                keys = list(partition_keys) if partition_keys is not None else None
                loads = await session.connection.fetch(query("published_loads"), str(spec.target), keys)
                return [
                    await _verify(
                        session.connection,
                        spec,
                        target,
                        load_id=load["load_id"],
                        partition_key=load["partition_key"],
                        enqueued_rows=load["enqueued_rows"],
                    )
                    for load in loads
                ]
    finally:
        await session.close()


async def _verify(
    connection: asyncpg.Connection,
    spec: TableSpec,
    target: Target,
    *,
    load_id: int,
    partition_key: str,
    enqueued_rows: int,
) -> PartitionVerification:
    totals = await read_chunk_totals(connection, load_id)
    letters = await connection.fetchrow(query("dead_letter_totals"), load_id)
    expected = await read_ledger_fingerprint(connection, load_id, totals, target.columns)
    found = await measure_relation(
        connection,
        quoted(target.name.schema_name, target.name.table),
        target.columns,
        predicate=partition_predicate(target, spec.partitions.partition(partition_key)) or "true",
        fingerprint=expected is not None,
    )
    problems = []
    if found.rows != totals.written_rows:
        problems.append(f"{found.rows} rows in the table, {totals.written_rows} were written")
    if letters["dead_letters"] != totals.dead_lettered_rows or letters["chunks_that_differ"]:
        problems.append(f"{letters['dead_letters']} dead letters kept, {totals.dead_lettered_rows} were recorded")
    accounted = totals.written_rows + totals.dead_lettered_rows + totals.filtered_rows - totals.added_rows
    if not enqueued_rows == totals.enqueued_rows == accounted or totals.unbalanced:
        problems.append(
            f"{enqueued_rows} rows enqueued by the load, {totals.enqueued_rows} by its chunks, "
            f"{totals.written_rows} written and "
            f"{totals.dead_lettered_rows} dead-lettered by the ledger"
        )
    balance = Check(
        CheckName.ROW_BALANCE,
        passed=not problems,
        summary="; ".join(problems)
        or f"{totals.enqueued_rows} enqueued = {found.rows} in the table + {letters['dead_letters']} dead-lettered",
        details={"rows in the table": found.rows, "rows written": totals.written_rows},
    )
    checks = [balance]
    if expected is not None:
        checks.append(fingerprint_check(expected, found.fingerprint))
    return PartitionVerification(partition_key, tuple(checks))
