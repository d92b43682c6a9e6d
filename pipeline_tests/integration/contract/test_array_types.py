"""Arrays through real loads: into a table made for them, and into one that has narrower elements, enums and domains."""

# ruff: noqa: DTZ001, timestamps without a zone are half of what is tested

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import polars as pl
from pydantic import AwareDatetime, BaseModel, Field

from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from rowledger.contract.sql_types import SmallInt, char, pg_enum, varchar
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.table import DeadLetterBudget, TableSpec

_TOLERANT = DeadLetterBudget(rows_max=100, share_max=1)


class Arrays(BaseModel):
    """Arrays that have a binary encoder, which is none for any other column's sake."""

    number: int
    flags: list[bool]
    small: list[SmallInt]
    counts: list[int | None] | None
    amounts: list[Annotated[Decimal, Field(max_digits=10, decimal_places=2)]]
    ratios: list[float]
    words: list[str | None]
    moods: list[Annotated[Literal["glad", "sad"], pg_enum("mood")]]
    chunks: list[bytes]
    days: list[date]
    hours: list[time]
    stamps: list[datetime]
    waits: list[timedelta]


class MoreArrays(Arrays):
    """Arrays that have none."""

    ids: list[UUID]
    instants: list[AwareDatetime]
    codes: list[Annotated[str, varchar(3)]]
    padded: list[Annotated[str, char(3)]]
    hosts: list[IPv4Address]
    numbers: list[Decimal]


_SOURCE = ParquetFiles(path="{landing}/rows.parquet")
ARRAYS = TableSpec(name="arrays", row=Arrays, source=_SOURCE, dead_letters=_TOLERANT)
MORE_ARRAYS = TableSpec(name="more_arrays", row=MoreArrays, source=_SOURCE, dead_letters=_TOLERANT)

ROW: dict[str, Any] = {
    "number": 1,
    "flags": [True, False],
    "small": [-(2**15), 2**15 - 1],
    "counts": [2**63 - 1, None],
    "amounts": [Decimal("1.50"), Decimal("-0.01")],
    "ratios": [0.1, float("inf"), -0.0],
    "words": ['a "b", {c}\\', None, "", "NULL", "line\nbreak\t\\N"],
    "moods": ["sad", "glad"],
    "chunks": [b"\x00\xff", b""],
    "days": [date(1999, 12, 31), date(2024, 2, 29)],
    "hours": [time(23, 59, 59, 999_999)],
    "stamps": [datetime(2024, 3, 10, 2, 30, 0, 1)],
    "waits": [timedelta(days=-1, microseconds=1)],
}
MORE: dict[str, Any] = {
    "ids": ["12345678-1234-5678-1234-567812345678"],
    "instants": [datetime(2024, 3, 10, 7, 30, tzinfo=UTC)],
    "codes": ["é€a", ""],
    "padded": ["ab", ""],
    "hosts": ["10.0.0.1"],
    "numbers": [Decimal("12345678901234567890.5"), Decimal(2)],
}
SCHEMA = {"counts": pl.List(pl.Int64), "amounts": pl.List(pl.Decimal(10, 2)), "numbers": pl.List(pl.Decimal(30, 1))}
MORE_BACK = {
    **MORE,
    "ids": [UUID("12345678-1234-5678-1234-567812345678")],
    "padded": ["ab ", "   "],
    "hosts": [IPv4Address("10.0.0.1")],
}


def write(landing: Path, rows: list[dict[str, Any]]) -> None:
    pl.DataFrame(rows, schema_overrides={name: SCHEMA[name] for name in rows[0].keys() & SCHEMA}).write_parquet(
        landing / "rows.parquet"
    )


def emptied(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The row with empty arrays, but for the changes."""
    return {**{name: [] if isinstance(value, list) else value for name, value in row.items()}, **changes}


def test_arrays_come_back_equal_through_binary_copy(database: str, tmp_path: Path) -> None:
    rows = [ROW, emptied(ROW, number=2, counts=None)]
    write(tmp_path, rows)

    report = load_one(database, ARRAYS, tmp_path, "all")

    assert (report.error, report.written_rows) == (None, 2)
    assert [dict(row) for row in fetch(database, "select * from arrays order by number")] == rows


def test_arrays_come_back_equal_through_text_copy(database: str, tmp_path: Path) -> None:
    rows = [{**ROW, **MORE}, emptied({**ROW, **MORE}, number=2, counts=None)]
    write(tmp_path, rows)

    report = load_one(database, MORE_ARRAYS, tmp_path, "all")

    assert (report.error, report.written_rows) == (None, 2)
    found = [dict(row) for row in fetch(database, "select * from more_arrays order by number")]
    assert found == [{**ROW, **MORE_BACK}, rows[1]]


def test_an_existing_table_s_elements_are_kept_exactly_or_the_row_is_refused(database: str, tmp_path: Path) -> None:
    for statement in (
        "create type feeling as enum ('sad', 'glad', 'so so')",
        "create domain positive as integer check (value > 0)",
        "create domain some_words as character varying(20)[] check (cardinality(value) < 6)",
        (
            "create table arrays (number numeric, flags boolean[], small smallint[], counts positive[], "
            "amounts numeric(6,2)[], ratios double precision[][], words some_words, moods feeling[3], chunks bytea[], "
            "days date[], hours time(3)[], stamps timestamp(3)[], waits interval(0)[])"
        ),
    ):
        fetch(database, statement)
    fitting = emptied(ROW, counts=[1, None], words=["line\nbreak", None], moods=["glad"], ratios=[0.5])
    rows = [{**fitting, "number": number} for number in range(8)]
    rows[1]["amounts"] = [Decimal("1.00"), Decimal("12345.67")]
    rows[2]["hours"] = [time(1, 2, 3, 400)]
    rows[3]["waits"] = [timedelta(milliseconds=500)]
    rows[4]["words"] = ["x" * 21]
    rows[5]["counts"] = [7, -1]  # the domain's check, which only the server knows
    rows[6]["words"] = ["x"] * 6
    write(tmp_path, rows)

    report = load_one(database, ARRAYS, tmp_path, "all")

    assert (report.error, report.written_rows, report.dead_lettered_rows) == (None, 2, 6)
    letters = fetch(database, "select row_no, stage, column_name, sqlstate from rowledger.dead_letter order by row_no")
    assert [tuple(letter) for letter in letters] == [
        (1, "contract", "amounts", None),
        (2, "contract", "hours", None),
        (3, "contract", "waits", None),
        (4, "contract", "words", None),
        (5, "copy", "counts", "23514"),
        (6, "copy", "words", "23514"),
    ]
    found = [dict(row) for row in fetch(database, "select * from arrays order by number")]
    assert found == [rows[0], rows[7]]
