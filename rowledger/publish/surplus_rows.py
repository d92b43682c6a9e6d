"""Find surplus rows in their source again, and move them from the staging table to the dead letters."""

import bisect
from collections.abc import Iterator
from dataclasses import asdict, replace

import asyncpg
import polars as pl

from rowledger.contract import DeadLetter, Fingerprint, fingerprint_frame
from rowledger.counted import counted
from rowledger.errors import DiscrepancyFound, SourceError
from rowledger.ledger import record_dead_letters
from rowledger.machine import ProcessIdentity, in_thread
from rowledger.postgres import LEDGER_SCHEMA, copy_rows, encode_rows, query, quoted
from rowledger.publish.conflicts import GROUP, Conflict
from rowledger.publish.finish_context import FinishContext
from rowledger.publish.source_rows import (
    CHUNK_NO,
    LETTER,
    PART,
    ROW_NO,
    Candidates,
    Refused,
    read_again,
    read_refused,
    read_values,
)
from rowledger.publish.too_many_set_aside import TooManySetAside
from rowledger.spec import RESERVED_PREFIX, ChunkPlan, Manifest

__all__ = ["move_surplus"]

# Added to the target's columns and those of `source_rows`.
_KEPT_ROW_NO = f"{RESERVED_PREFIX}kept_row_no"
_KEPT_PART = f"{RESERVED_PREFIX}kept_part"

_EXAMPLES_MIN = 20  # dead letters recorded of rows beyond the budget, however small it is


async def move_surplus(
    connection: asyncpg.Connection, conflict: Conflict, load: FinishContext, *, found_rows: int, groups: int
) -> int:
    """Move the surplus of the rows that the conflict has found, and return their number.

    Raises TooManySetAside, with some of the rows, when they are more than the budget allows; and DiscrepancyFound when the
    source does not have the rows that the staging table has.
    """
    manifest, handle = load.manifest, load.handle
    surplus_rows = sum(conflict.going.values()) or (found_rows - groups if conflict.keeps_first else found_rows)
    refused = await read_refused(connection, handle)
    allowed = load.spec.dead_letters.allowed_rows(manifest.enqueued_rows)
    if refused.rows + surplus_rows > allowed:
        dead_letters_max = min(surplus_rows, max(allowed - refused.rows, _EXAMPLES_MIN))
        raise TooManySetAside(
            f"{load.name}: {counted(surplus_rows, 'row')} {conflict.what} "
            f"and {refused.rows} were refused before; the budget is {load.spec.dead_letters.told(manifest.enqueued_rows)}",
            refused_rows=surplus_rows + refused.rows,
            detail=f"{counted(surplus_rows, 'row')} {conflict.what}"
            + (" of rows before them" if conflict.keeps_first else ""),
            letters=await _examples(connection, conflict, load, refused=refused, dead_letters_max=dead_letters_max),
        )
    again = await _find_again(connection, conflict, load, refused)
    if again.rows.height != found_rows:
        raise DiscrepancyFound(
            f"{load.name}: {counted(found_rows, 'row')} in staging {conflict.what}, "
            f"the source has {again.rows.height} with these values"
        )
    kept, surplus = _divide(again.rows, conflict)
    await _replace_rows(connection, load, conflict, kept, expected=found_rows)
    for chunk, rows, letters in _by_chunk(again, conflict, surplus, manifest):
        await _record(connection, load, chunk, rows, letters)
    return surplus.height


async def _examples(
    connection: asyncpg.Connection,
    conflict: Conflict,
    load: FinishContext,
    *,
    refused: Refused,
    dead_letters_max: int,
) -> list[tuple[ChunkPlan, list[DeadLetter]]]:
    """The first of the rows beyond the budget, chunk by chunk; none where the source does not give them in time.

    Only some values are looked for, and only until enough rows with these are found.
    """
    # Unless the first row of a group is kept, all of its rows are needed to decide which ones go.
    rows_max = None if conflict.going else dead_letters_max
    try:
        again = await _find_again(connection, conflict, load, refused, surplus_max=rows_max)
    except (DiscrepancyFound, SourceError, TimeoutError):
        return []  # the verdict is that there are too many, whatever else is wrong
    _, surplus = _divide(again.rows, conflict)
    found = _by_chunk(again, conflict, surplus.head(dead_letters_max), load.manifest)
    return [(chunk, letters) for chunk, _, letters in found]


async def _find_again(
    connection: asyncpg.Connection,
    conflict: Conflict,
    load: FinishContext,
    refused: Refused,
    *,
    surplus_max: int | None = None,
) -> Candidates:
    """The rows of the conflict as the source has them, each with the number of its group; enough for `surplus_max` of them."""
    values = await read_values(connection, conflict, load.target, values_max=surplus_max)
    rows_max = None if surplus_max is None else surplus_max + values[GROUP].n_unique()
    again = await in_thread(
        lambda: read_again(
            load.spec,
            load.target,
            load.partition,
            load.manifest.chunks,
            conflict,
            values,
            refused,
            rows_max=rows_max,
        ),
        timeout_s=load.settings.chunk_deadline_s,
    )
    rows = again.rows.join(values, on=conflict.matched, how="left", nulls_equal=True, maintain_order="left")
    return replace(again, rows=rows)


def _divide(rows: pl.DataFrame, conflict: Conflict) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that are kept and the rows that go.

    A row that goes has the number of the row kept in its place, if there is one.
    """
    if conflict.going:
        goes = pl.col(GROUP).replace_strict(dict(conflict.going), return_dtype=pl.Int64)
        is_kept = pl.int_range(pl.len()).over(GROUP) < pl.len().over(GROUP) - goes
        surplus = rows.filter(~is_kept).with_columns(pl.lit(None, dtype=pl.Int64).alias(_KEPT_ROW_NO))
        return rows.filter(is_kept), surplus
    kept = rows.unique(subset=GROUP, keep="first", maintain_order=True) if conflict.keeps_first else rows.clear()
    surplus = rows.join(
        kept.select(GROUP, pl.col(ROW_NO).alias(_KEPT_ROW_NO), pl.col(PART).alias(_KEPT_PART)),
        on=GROUP,
        how="left",
        maintain_order="left",
    ).filter(
        pl.col(_KEPT_ROW_NO).is_null() | (pl.col(ROW_NO) != pl.col(_KEPT_ROW_NO)) | (pl.col(PART) != pl.col(_KEPT_PART))
    )
    return kept, surplus


def _letter(letter: DeadLetter, conflict: Conflict, group: int, kept: str) -> DeadLetter:
    if refusal := conflict.refusals.get(group):
        return replace(letter, **asdict(refusal))
    return replace(letter, reason=letter.reason.replace("{kept}", kept))


def _by_chunk(
    again: Candidates, conflict: Conflict, surplus: pl.DataFrame, manifest: Manifest
) -> Iterator[tuple[ChunkPlan, pl.DataFrame, list[DeadLetter]]]:
    """The surplus rows of each chunk, and their dead letters with the reasons."""
    is_one = len({part.origin for part in manifest.parts}) == 1

    def place_of(row_no: int | None) -> str:
        if row_no is None:
            return ""
        chunk = manifest.chunks[bisect.bisect_right(manifest.chunks, row_no, key=lambda chunk: chunk.first_row) - 1]
        origin, row = chunk.place_of(row_no)
        return f"row {row} of {'the source' if is_one else origin}"

    for (number,), rows in surplus.group_by(CHUNK_NO, maintain_order=True):
        letters = [
            _letter(again.letters[index], conflict, group, place_of(kept_row_no))
            for index, group, kept_row_no in rows.select(LETTER, GROUP, _KEPT_ROW_NO).iter_rows()
        ]
        yield manifest.chunks[int(number)], rows, letters


async def _replace_rows(
    connection: asyncpg.Connection,
    load: FinishContext,
    conflict: Conflict,
    kept: pl.DataFrame,
    *,
    expected: int,
) -> None:
    """Delete every row found from staging, and write back those that are kept."""
    target, staging_table = load.target, load.handle.staging_table
    staging = quoted(LEDGER_SCHEMA, staging_table)
    tag = await connection.execute(
        f"delete from {staging} where ctid in (select ctid from ({conflict.rows_sql}) as found)"  # noqa: S608 - all quoted
    )
    if tag != f"DELETE {expected}":
        raise DiscrepancyFound(
            f"{counted(expected, 'row')} {conflict.what}, the server answered {tag!r} when they were taken out"
        )
    if kept.is_empty():
        return
    names = [column.name for column in target.columns]
    await copy_rows(
        connection,
        encode_rows(kept.select(names), target.columns, load.settings.batch_rows),
        schema_name=LEDGER_SCHEMA,
        table_name=staging_table,
        columns=target.columns,
        on_sent=lambda _sent_bytes: None,
    )


async def _record(
    connection: asyncpg.Connection,
    load: FinishContext,
    chunk: ChunkPlan,
    rows: pl.DataFrame,
    letters: list[DeadLetter],
) -> None:
    """Record dead letters for a chunk's surplus rows, and take these out of its counts and its fingerprint."""
    target, handle = load.target, load.handle
    await record_dead_letters(connection, handle, chunk, letters, attempt=0, worker=ProcessIdentity.this())
    fingerprint = None
    if load.settings.fingerprint:
        before = Fingerprint.from_json(
            await connection.fetchval(query("chunk_fingerprint"), handle.load_id, chunk.chunk_no)
        )
        surplus = rows.select(column.name for column in target.columns)
        fingerprint = (before - fingerprint_frame(surplus, target.columns)).to_json()
    moved = await connection.fetchval(
        query("move_to_dead_letters"), handle.load_id, chunk.chunk_no, rows.height, fingerprint
    )
    if moved is None:
        raise DiscrepancyFound(
            f"chunk {chunk.chunk_no} of load {handle.load_id} holds fewer rows than are to be taken out of it"
        )
