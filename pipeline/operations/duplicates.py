"""Rows that share a key: the first in source order stays, the others become dead letters.

Staging tables have no index while they are filled, so duplicates show only when the key is built. Then the source is read
once more for exactly the keys concerned: it alone knows which row came first, whatever order the workers had.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import polars as pl

from pipeline.contract.check import Contract
from pipeline.contract.explain import row_payloads
from pipeline.contract.fingerprint import Fingerprint, fingerprint_frame
from pipeline.contract.target import as_frame_value
from pipeline.errors import DeadLetterBudgetSpent, DiscrepancyFound, Fenced
from pipeline.model.manifest import ChunkPlan, Manifest
from pipeline.model.partition import Partition
from pipeline.model.report import DeadLetter, Stage
from pipeline.model.table import TableSpec
from pipeline.operations.threads import in_thread
from pipeline.postgres.catalogue import LEDGER_SCHEMA, Target, quoted
from pipeline.postgres.copy import copy_rows, encode_rows
from pipeline.postgres.ledger import LoadHandle, record_dead_letters
from pipeline.postgres.queries import query, quote_identifier
from pipeline.settings import WriterSettings

__all__ = ["set_duplicates_aside"]

_ROW_NO = "rowledger row_no"  # names that no contract column can have: they hold a blank
_CHUNK_NO = "rowledger chunk_no"
_PAYLOAD = "rowledger payload"
_KEPT_ROW_NO = "rowledger kept_row_no"


@dataclass(frozen=True, slots=True)
class _Duplicates:
    """Keys that occur more than once in staging, and how many rows have them."""

    keys: pl.DataFrame
    rows: int

    @property
    def surplus_rows(self) -> int:
        return self.rows - self.keys.height


async def set_duplicates_aside(
    connection: asyncpg.Connection,
    spec: TableSpec,
    target: Target,
    handle: LoadHandle,
    partition: Partition,
    settings: WriterSettings,
    *,
    manifest: Manifest,
    worker_pid: int,
) -> int:
    """Move the surplus rows to the dead letters and return their number. Runs in the caller's transaction.

    Raises DeadLetterBudgetSpent before it reads anything when they are too many, Fenced, or DiscrepancyFound when the source
    does not have the rows that the staging table has.
    """
    if await connection.fetchval(query("lock_load"), handle.load_id, handle.epoch) is None:
        raise Fenced(f"load {handle.load_id}: another run has taken it over")
    found = await _find(connection, spec, target, handle)
    if found.keys.is_empty():
        return 0
    refused = [row["row_no"] for row in await connection.fetch(query("dead_row_numbers"), handle.load_id)]
    allowed = spec.dead_letters.allowed_rows(manifest.enqueued_rows)
    if len(refused) + found.surplus_rows > allowed:
        raise DeadLetterBudgetSpent(
            f"table {spec.name}, partition {partition.key}: {found.surplus_rows} rows repeat a key ({', '.join(spec.key)}) "
            f"and {len(refused)} were refused before; the budget is {allowed}"
        )
    rows = await in_thread(
        lambda: _read_again(spec, target, partition, manifest.chunks, found.keys, refused),
        timeout_s=settings.chunk_deadline_s,
    )
    if rows.height != found.rows:
        raise DiscrepancyFound(
            f"table {spec.name}, partition {partition.key}: {found.rows} rows in staging repeat a key, "
            f"the source has {rows.height} with these keys"
        )
    key = list(spec.key)
    kept = rows.unique(subset=key, keep="first", maintain_order=True)
    surplus = rows.join(
        kept.select(*key, pl.col(_ROW_NO).alias(_KEPT_ROW_NO)),
        on=key,
        how="left",
        nulls_equal=True,
        maintain_order="left",
    ).filter(pl.col(_ROW_NO) != pl.col(_KEPT_ROW_NO))
    await _replace_rows(connection, target, handle, key, kept, expected=found.rows, settings=settings)
    await _record(connection, target, handle, surplus, key, settings=settings, worker_pid=worker_pid)
    return surplus.height


async def _find(connection: asyncpg.Connection, spec: TableSpec, target: Target, handle: LoadHandle) -> _Duplicates:
    key = ", ".join(quote_identifier(name) for name in spec.key)
    rows = await connection.fetch(
        f"select {key}, count(*) from {quoted(LEDGER_SCHEMA, handle.staging_table)} "  # noqa: S608 - all quoted
        f"group by {key} having count(*) > 1"
    )
    schema = {name: target.column_types[name].frame_type for name in spec.key}
    types = [target.column_types[name] for name in spec.key]
    values = [[as_frame_value(*pair) for pair in zip(row, types, strict=False)] for row in rows]  # without the count
    return _Duplicates(pl.DataFrame(values, schema=schema, orient="row"), sum(row["count"] for row in rows))


def _read_again(
    spec: TableSpec,
    target: Target,
    partition: Partition,
    chunks: Sequence[ChunkPlan],
    keys: pl.DataFrame,
    refused: Sequence[int],
) -> pl.DataFrame:
    """The rows with these keys in source order: target columns, row and chunk number, payload as the source had it."""
    contract = Contract.of(spec.row)
    aside = pl.Series(refused, dtype=pl.Int64)
    found: list[pl.DataFrame] = []
    for chunk in chunks:
        source = spec.source.read(chunk.descriptor)
        row_nos = pl.int_range(chunk.first_row, chunk.first_row + source.height, eager=True)
        # Refused rows go before anything looks at them: among them may be one that kills whoever does.
        keep = ~row_nos.is_in(aside)
        source, row_nos = source.filter(keep), row_nos.filter(keep)
        checked = contract.check(source, types=target.column_types, bounds=partition)
        positions = (
            pl.int_range(checked.good.height, eager=True)
            if checked.good_rows is None
            else checked.good_rows.cast(pl.Int64)
        )
        matching = checked.good.with_columns(positions.alias(_ROW_NO)).join(
            keys, on=keys.columns, how="semi", nulls_equal=True, maintain_order="left"
        )
        payloads = pl.Series(_PAYLOAD, list(row_payloads(source[matching[_ROW_NO].to_list()])), dtype=pl.String)
        found.append(
            matching.with_columns(
                row_nos[matching[_ROW_NO]].alias(_ROW_NO),
                payloads,
                pl.lit(chunk.chunk_no, dtype=pl.Int32).alias(_CHUNK_NO),
            )
        )
    return pl.concat(found).sort(_ROW_NO)


async def _replace_rows(
    connection: asyncpg.Connection,
    target: Target,
    handle: LoadHandle,
    key: Sequence[str],
    kept: pl.DataFrame,
    *,
    expected: int,
    settings: WriterSettings,
) -> None:
    """Take every row with a repeated key out of staging, and put back the one that stays."""
    columns = ", ".join(quote_identifier(name) for name in key)
    staging = quoted(LEDGER_SCHEMA, handle.staging_table)
    tag = await connection.execute(
        f"delete from {staging} where ({columns}) in "  # noqa: S608 - identifiers are quoted
        f"(select {columns} from {staging} group by {columns} having count(*) > 1)"
    )
    if tag != f"DELETE {expected}":
        raise DiscrepancyFound(f"{expected} rows repeat a key, the server answered {tag!r} when they were taken out")
    names = [column.name for column in target.columns]
    await copy_rows(
        connection,
        encode_rows(kept.select(names), target.columns, settings.batch_rows),
        schema_name=LEDGER_SCHEMA,
        table_name=handle.staging_table,
        columns=target.columns,
        on_sent=lambda _sent_bytes: None,
    )


async def _record(
    connection: asyncpg.Connection,
    target: Target,
    handle: LoadHandle,
    surplus: pl.DataFrame,
    key: Sequence[str],
    *,
    settings: WriterSettings,
    worker_pid: int,
) -> None:
    """Dead letters for the surplus rows, and their chunks' counts and fingerprints without them."""
    names = [column.name for column in target.columns]
    for (chunk_no,), rows in surplus.group_by(_CHUNK_NO, maintain_order=True):
        letters = [
            DeadLetter(
                row_no=row_no,
                stage=Stage.KEY,
                reason=f"same key ({', '.join(key)}) as row {kept_row_no} of the source, which stays",
                payload=payload,
                column=key[0] if len(key) == 1 else None,
            )
            for row_no, kept_row_no, payload in rows.select(_ROW_NO, _KEPT_ROW_NO, _PAYLOAD).iter_rows()
        ]
        await record_dead_letters(connection, handle, int(chunk_no), letters, attempt=0, worker_pid=worker_pid)
        fingerprint = None
        if settings.fingerprint:
            before = Fingerprint.from_json(
                await connection.fetchval(query("chunk_fingerprint"), handle.load_id, int(chunk_no))
            )
            fingerprint = (before - fingerprint_frame(rows.select(names), target.columns)).to_json()
        moved = await connection.fetchval(
            query("move_to_dead_letters"), handle.load_id, int(chunk_no), rows.height, fingerprint
        )
        if moved is None:
            raise DiscrepancyFound(
                f"chunk {chunk_no} of load {handle.load_id} holds fewer rows than repeat a key in it"
            )
