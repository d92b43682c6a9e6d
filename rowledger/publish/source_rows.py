"""Find rows of a staging table again in the source, which alone knows their order and what each of them looked like."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import polars as pl

from rowledger.chunk import prepare_rows
from rowledger.contract import DeadLetter, as_frame_value, sorted_json
from rowledger.errors import DiscrepancyFound
from rowledger.postgres import Target, query, quote_identifier
from rowledger.publish.conflicts import GROUP, MATCHED, Conflict
from rowledger.sources import read_chunk
from rowledger.spec import RESERVED_PREFIX, ChunkPlan, ColumnType, LoadHandle, Partition, TableSpec, TypeName

__all__ = [
    "CHUNK_NO",
    "LETTER",
    "PART",
    "ROW_NO",
    "Candidates",
    "Refused",
    "read_again",
    "read_refused",
    "read_values",
]

# Added to the target's columns.
ROW_NO = f"{RESERVED_PREFIX}row_no"
PART = f"{RESERVED_PREFIX}part"
CHUNK_NO = f"{RESERVED_PREFIX}chunk_no"
LETTER = f"{RESERVED_PREFIX}letter"


@dataclass(frozen=True, slots=True)
class Refused:
    """Rows that are dead letters already: whole source rows, and single parts of rows that a transform multiplied."""

    whole: pl.Series
    parts: pl.DataFrame

    @property
    def rows(self) -> int:
        return len(self.whole) + self.parts.height


@dataclass(frozen=True, slots=True)
class Candidates:
    """The rows found, as the source has them: target columns, place, and the index of each row's dead letter.

    The reasons of the dead letters are not complete: all rows must be found before it is known which one is kept.
    """

    rows: pl.DataFrame
    letters: list[DeadLetter]


async def read_values(
    connection: asyncpg.Connection, conflict: Conflict, target: Target, *, values_max: int | None = None
) -> pl.DataFrame:
    """The values that find the rows again, each with its group number; `values_max` limits their number."""
    types = {name: target.column_types[name] for name in conflict.columns}
    columns = [f"{quote_identifier(name)}{'::text' if kind.is_loose else ''}" for name, kind in types.items()]
    selected = ", ".join([*columns, quote_identifier(GROUP)])
    # Compared as text: values that the server holds equal, as under a collation that ignores case, may differ.
    group, texts = quote_identifier(GROUP), f"row({', '.join(columns)})::text"
    some, order = "", ""
    if values_max is not None:
        some, order = f"distinct on ({group}, {texts})", f"order by {group}, {texts}"
    rows = await connection.fetch(
        f"select {some} {selected} from ({conflict.rows_sql}) as found {order} limit $1",  # noqa: S608 - all quoted
        values_max,
    )
    schema = {MATCHED + name: kind.frame_type for name, kind in types.items()}
    values = [[*map(as_frame_value, row, types.values()), row[GROUP]] for row in rows]
    frame = pl.DataFrame(values, schema={**schema, GROUP: pl.Int64()}, orient="row")
    frame = frame.with_columns(_comparable(frame[MATCHED + name], kind) for name, kind in types.items())
    # Where all rows go, it does not matter which of several equal rows gets which cause.
    same = [*conflict.matched, GROUP] if conflict.keeps_first or conflict.going else conflict.matched
    frame = frame.unique(subset=same, keep="first", maintain_order=True)
    if frame.select(conflict.matched).is_duplicated().any():
        raise DiscrepancyFound(f"rows {conflict.what}, and cannot be told apart by what the source has of them")
    return frame


def _comparable(values: pl.Series, column_type: ColumnType) -> pl.Series:
    """The values in one form for both sides: the server prints jsonb documents in a different form than the source."""
    if column_type.name is not TypeName.JSONB or column_type.array:
        return values
    texts = [None if text is None else sorted_json(text) for text in values.to_list()]
    return pl.Series(values.name, texts, dtype=pl.String)


async def read_refused(connection: asyncpg.Connection, handle: LoadHandle) -> Refused:
    """The rows of a load that are dead letters already."""
    found = await connection.fetch(query("refused_rows"), handle.load_id)
    return Refused(
        whole=pl.Series([row["row_no"] for row in found if not row["is_part"]], dtype=pl.Int64),
        parts=pl.DataFrame(
            [(row["row_no"], row["part"]) for row in found if row["is_part"]],
            schema={ROW_NO: pl.Int64, PART: pl.Int64},
            orient="row",
        ),
    )


def read_again(
    spec: TableSpec,
    target: Target,
    partition: Partition,
    chunks: Sequence[ChunkPlan],
    conflict: Conflict,
    values: pl.DataFrame,
    refused: Refused,
    *,
    rows_max: int | None = None,
) -> Candidates:
    """The rows with these values, in source order. With `rows_max` no further chunk is read once that many are found."""
    found: list[pl.DataFrame] = []
    letters: list[DeadLetter] = []
    for chunk in chunks:
        if rows_max is not None and len(letters) >= rows_max:
            break
        source = read_chunk(spec.source, chunk.descriptor)
        row_nos = pl.int_range(chunk.first_row, chunk.first_row + source.height, eager=True)
        # Refused rows are left out before anything reads them: one of them may kill the process that does.
        keep = ~row_nos.is_in(refused.whole.implode())
        prepared = prepare_rows(
            spec,
            target.columns,
            source.filter(keep),
            row_nos.filter(keep).to_list(),
            partition,
            dead_letters_max=source.height,
        )
        matching = (
            prepared.good.with_columns(
                pl.Series(ROW_NO, prepared.row_nos),
                pl.Series(PART, prepared.parts),
                pl.int_range(pl.len()).alias(LETTER),
                *(
                    _comparable(prepared.good[name], target.column_types[name]).alias(MATCHED + name)
                    for name in conflict.columns
                ),
            )
            .join(values, on=conflict.matched, how="semi", nulls_equal=True, maintain_order="left")
            .join(refused.parts, on=[ROW_NO, PART], how="anti", maintain_order="left")
        )
        if rows_max is not None:
            matching = matching.head(rows_max - len(letters))
        offsets = matching[LETTER].to_list()
        found.append(
            matching.with_columns(
                pl.lit(chunk.chunk_no, dtype=pl.Int32).alias(CHUNK_NO),
                pl.int_range(len(letters), len(letters) + matching.height).alias(LETTER),
            )
        )
        letters += prepared.refusals(dict.fromkeys(offsets, conflict.refusal))
    return Candidates(pl.concat(found).sort(ROW_NO, PART), letters)
