"""The judge: what is in a table, held against the file it was loaded from. It shares no code with either contestant.

A count would let doubled rows make up for lost ones. So the source is cut into ranges of its key, one a row group, and each
range is compared on its own: rows, distinct keys, and per column a sum over the values (of texts, a sum of their CRC-32).
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import polars as pl
import pyarrow.parquet as pq

_KEY = "l_orderkey * 8 + l_linenumber"  # a line number is 7 at most, so one number stands for the two columns
_WORK_MEM = "256MB"


@dataclass(frozen=True, slots=True)
class SourceRange:
    """A row group of the source: its rows' keys begin at `first_key`, and behind those of the group before it."""

    first_key: int
    rows: int
    sums: tuple[int, ...]  # a column each, in the order of the file


@dataclass(frozen=True, slots=True)
class Audit:
    """What has become of the source's rows, as the table itself shows it."""

    rows_in_source: int
    rows_in_table: int
    lost_by_range: tuple[int, ...]
    doubled: int
    altered_ranges: int  # of those without a lost or doubled row, in which a column's sum differs

    @property
    def lost(self) -> int:
        return sum(self.lost_by_range)

    @property
    def exact(self) -> bool:
        """Whether the table holds the source's rows, each of them once and unchanged."""
        return self.lost == self.doubled == self.altered_ranges == 0 and self.rows_in_table == self.rows_in_source


def read_source(file: Path) -> list[SourceRange]:
    """The file's ranges, a row group in memory at a time; its keys have to ascend."""
    ranges: list[SourceRange] = []
    offset, last_key = 0, -1
    with pq.ParquetFile(file) as parquet:
        sizes = [parquet.metadata.row_group(n).num_rows for n in range(parquet.metadata.num_row_groups)]
    for rows in sizes:
        frame = pl.scan_parquet(file).slice(offset, rows).collect()
        keys = frame.select(pl.sql_expr(_KEY)).to_series()
        if keys[0] <= last_key or not keys.is_sorted() or keys.n_unique() != rows:
            raise ValueError(f"{file}: the keys do not ascend in the row group at row {offset}")
        ranges.append(SourceRange(keys[0], rows, tuple(_sum(column) for column in frame)))
        offset, last_key = offset + rows, keys[-1]
    return ranges


async def audit(url: str, table: str, columns: Mapping[str, pl.DataType], source: Sequence[SourceRange]) -> Audit:
    """Hold the table against the source; the server has to be PostgreSQL 18 or newer, for its `crc32`."""
    first_keys = [one.first_key for one in source]
    range_no = f"width_bucket({_KEY}, $1::bigint[]) - 1"
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"set work_mem = '{_WORK_MEM}'")
        counts = await connection.fetch(
            f"select {range_no}, count(*), count(distinct {_KEY}) from {table} group by 1",  # noqa: S608 - our own names
            first_keys,
        )
        sums = await connection.fetch(
            f"select {range_no}, {', '.join(map(_sum_sql, columns, columns.values()))} from {table} group by 1",  # noqa: S608
            first_keys,
        )
    finally:
        await connection.close()
    rows_of = {no: (rows, keys) for no, rows, keys in counts}
    sums_of = {no: tuple(map(int, values)) for no, *values in sums}
    lost, doubled, altered = [], rows_of.pop(-1, (0, 0))[0], 0  # rows before the first key belong to nobody
    for no, expected in enumerate(source):
        rows, keys = rows_of.get(no, (0, 0))
        lost.append(max(0, expected.rows - keys))
        doubled += rows - min(keys, expected.rows)
        altered += rows == keys == expected.rows and sums_of[no] != expected.sums
    rows_in_table = sum(rows for _, rows, _ in counts)
    return Audit(sum(one.rows for one in source), rows_in_table, tuple(lost), doubled, altered)


def _sum(column: pl.Series) -> int:
    """A column's sum as a whole number: cents of decimals, days since 1970 of dates, CRC-32 of texts."""
    match column.dtype:
        case pl.String():
            counts = column.value_counts(name="times")
            return sum(zlib.crc32(text.encode()) * times for text, times in counts.iter_rows())
        case pl.Decimal():
            return int(column.sum() * 100)
        case _:
            return int(column.to_physical().cast(pl.Int64).sum())


def _sum_sql(name: str, dtype: pl.DataType) -> str:
    """The same sum, by the server."""
    match dtype:
        case pl.String():
            return f"sum(crc32(convert_to({name}, 'UTF8')))"
        case pl.Decimal():
            return f"sum({name} * 100)"
        case pl.Date():
            return f"sum({name} - date '1970-01-01')"
        case _:
            return f"sum({name})"
