"""Every type a contract can name arrives in the table as it was, through a real load."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import polars as pl
from pydantic import AwareDatetime, BaseModel, Field

from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from rowledger.contract.sql_types import BigInt, Integer, Real, SmallInt, varchar
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.table import TableSpec


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Everything(BaseModel):
    a_bool: bool
    a_small: SmallInt
    an_int: Integer
    a_big: BigInt
    a_real: Real
    a_double: float
    a_numeric: Annotated[Decimal, Field(max_digits=20, decimal_places=4)]
    a_text: str
    a_varchar: Annotated[str, varchar(8)]
    a_bytea: bytes
    a_uuid: UUID
    a_date: date
    a_time: time
    a_timestamp: datetime
    a_timestamptz: AwareDatetime
    a_literal: Literal["x", "y"]
    an_enum: Colour
    aliased: Annotated[int | None, Field(validation_alias="Order Nº", serialization_alias="Order Nº")]


EVERYTHING = TableSpec(
    name="everything", row=Everything, source=ParquetFiles(path="{landing}/everything.parquet"), key=("a_uuid",)
)

FIRST = {
    "a_bool": True,
    "a_small": -32768,
    "an_int": 2**31 - 1,
    "a_big": -(2**63),
    "a_real": 0.5,
    "a_double": -1.5e300,
    "a_numeric": Decimal("1234567890123456.7891"),
    "a_text": "naïve ☃ \t\n 'quoted' \\N",
    "a_varchar": "ääääöööö",
    "a_bytea": b"\x00\xff\x80",
    "a_uuid": UUID("12345678-1234-5678-1234-567812345678"),
    "a_date": date(1999, 12, 31),
    "a_time": time(23, 59, 59, 999999),
    "a_timestamp": datetime(2024, 3, 10, 2, 30, 0, 1),  # noqa: DTZ001 - naive on purpose
    "a_timestamptz": datetime(2024, 3, 10, 7, 30, tzinfo=UTC),
    "a_literal": "y",
    "an_enum": "blue",
    "Order Nº": None,
}
SECOND = {**FIRST, "a_uuid": UUID(int=0), "a_bytea": b"", "a_text": "", "a_numeric": Decimal("-0.0001"), "Order Nº": 7}


def write(landing: Path, rows: list[dict[str, object]]) -> None:
    frame = pl.DataFrame(
        [{**row, "a_uuid": str(row["a_uuid"])} for row in rows],
        schema_overrides={"a_numeric": pl.Decimal(20, 4), "a_real": pl.Float32, "Order Nº": pl.Int64},
        strict=False,
    )
    frame.write_parquet(landing / "everything.parquet")


def test_every_type_comes_back_equal(database: str, tmp_path: Path) -> None:
    write(tmp_path, [FIRST, SECOND])

    report = load_one(database, EVERYTHING, tmp_path, "all")

    assert report.error is None
    assert (report.written_rows, report.dead_lettered_rows) == (2, 0)
    found = [dict(row) for row in fetch(database, "select * from everything order by a_uuid desc")]
    assert found == [FIRST, SECOND]


def test_the_key_of_a_table_loaded_whole_has_the_name_people_expect(database: str, tmp_path: Path) -> None:
    write(tmp_path, [FIRST])
    names = []
    for _ in range(2):
        assert load_one(database, EVERYTHING, tmp_path, "all").error is None
        names.append(
            fetch(
                database,
                "select conname::text from pg_constraint where contype = 'p' and conrelid = 'everything'::regclass",
            )[0][0]
        )

    assert names == ["everything_pkey", "everything_pkey"]


def test_duplicates_by_uuid_are_set_aside(database: str, tmp_path: Path) -> None:
    spec = EVERYTHING_TOLERANT
    write(tmp_path, [FIRST, {**FIRST, "a_text": "later"}, SECOND])

    report = load_one(database, spec, tmp_path, "all")

    assert report.error is None
    assert (report.written_rows, report.dead_lettered_rows) == (2, 1)
    assert [row["a_text"] for row in fetch(database, "select a_text from everything order by a_uuid desc")] == [
        FIRST["a_text"],
        SECOND["a_text"],
    ]


EVERYTHING_TOLERANT = EVERYTHING.model_copy(
    update={"dead_letters": EVERYTHING.dead_letters.model_copy(update={"share_max": 0.5})}
)


def test_a_table_loaded_whole_is_swapped_unless_something_of_it_would_be_lost(database: str, tmp_path: Path) -> None:
    write(tmp_path, [FIRST])
    oids = []
    for statement in ("select 1", "select 1", "alter table everything add column note text default 'kept'"):
        fetch(database, statement) if oids else None
        assert load_one(database, EVERYTHING, tmp_path, "all").error is None
        oids.append(fetch(database, "select 'everything'::regclass::oid::bigint")[0][0])
    fetch(database, "create view seen as select a_text from everything")
    assert load_one(database, EVERYTHING, tmp_path, "all").error is None
    oids.append(fetch(database, "select 'everything'::regclass::oid::bigint")[0][0])

    assert len(set(oids)) == 3  # each load swapped the table, but the last: it would have taken the view along
    assert oids[-1] == oids[-2]
    assert [row["note"] for row in fetch(database, "select note from everything")] == ["kept"]
