"""Tables in every write mode and divided in every way, for tests of how rows come into their target."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import AwareDatetime, BaseModel

from rowledger.contract.sql_types import Integer
from rowledger.sources.csv import CsvFiles
from rowledger.sources.parquet import ParquetFiles
from rowledger.sources.spooled_source import SpooledSource
from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.partition import Partition
from rowledger.spec.source import SourceContext
from rowledger.spec.table import DeadLetterBudget, QualifiedName, TableSpec, WriteMode
from rowledger.spec.transform import FrameTransform

Row = dict[str, Any]

DAY = "2024-03-01"
NEXT_DAY = "2024-03-02"

_SCHEMA = {"day": pl.Date(), "region": pl.String(), "sale_id": pl.Int64(), "amount": pl.Float64()}


class SpooledSales(SpooledSource):
    """The same files, spooled."""

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        file = scope.landing_dir / "sales" / f"{partition.key}.parquet"
        yield from self.new_spool(scope).write([pl.read_parquet(file)], origin=file.name)


class OneFile(SpooledSource):
    """The same file for whatever key."""

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:  # noqa: ARG002
        yield from self.new_spool(scope).write(
            [pl.read_parquet(scope.landing_dir / "sales" / "one.parquet")], origin="one.parquet"
        )


class Sale(BaseModel):
    """A row that can be divided by day and by region."""

    day: date
    region: str
    sale_id: Integer
    amount: float | None


class Tick(BaseModel):
    """A row of an hour."""

    at: AwareDatetime
    price: float


def _sales(
    name: str,
    write_mode: WriteMode,
    key: tuple[str, ...],
    partition_by: str | dict[str, str] | None = "day",
    file: str = "{partition_key}.parquet",
) -> TableSpec:
    return TableSpec(
        name=name,
        row=Sale,
        source=ParquetFiles(path=f"{{landing}}/sales/{file}"),
        partition_by=partition_by,
        key=key,
        write_mode=write_mode,
        dead_letters=DeadLetterBudget(rows_max=100, share_max=0.6),
    )


KEY = ("day", "region", "sale_id")
REPLACED = _sales("replaced", WriteMode.REPLACE, KEY)
APPENDED = _sales("appended", WriteMode.APPEND, KEY)
APPENDED_KEYLESS = _sales("appended_keyless", WriteMode.APPEND, ())
KEYLESS_SPOOLED = APPENDED_KEYLESS.model_copy(
    update={"name": "spooled", "target": QualifiedName(schema_name="public", table="spooled"), "source": SpooledSales()}
)
KEYLESS_CSV = APPENDED_KEYLESS.model_copy(
    update={
        "name": "keyless_csv",
        "target": QualifiedName(schema_name="public", table="keyless_csv"),
        "source": CsvFiles(path="{landing}/sales/{partition_key}.csv"),
    }
)
UPSERTED = _sales("upserted", WriteMode.UPSERT, KEY)
REPLACED_AS_APPENDED = REPLACED.model_copy(update={"name": APPENDED.name, "target": APPENDED.target})
"""As if the write mode of one and the same table had been changed."""

MOVING = _sales("moving", WriteMode.UPSERT, ("sale_id",))
"""Its key does not say which day it is: a row may move to another one."""
WHOLE_APPENDED = _sales("whole_appended", WriteMode.APPEND, (), None)
WHOLE_UPSERTED = _sales("whole_upserted", WriteMode.UPSERT, ("sale_id",), None)
PATHS = _sales("paths", WriteMode.APPEND, (), None)
"""Its partitions only say what is read."""


class NarrowSale(BaseModel):
    """A sale as it was before it had an amount."""

    day: date
    region: str
    sale_id: Integer


def without_amount(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop("amount")


WIDE_SALES = _sales("growing", WriteMode.APPEND, (), None)
NARROW_SALES = TableSpec(
    **{**dict(WIDE_SALES), "row": NarrowSale, "transform": FrameTransform(function=without_amount)}
)
BY_REGION = _sales("by_region", WriteMode.REPLACE, KEY, "region")
BY_DAY_AND_REGION = _sales(
    "by_day_and_region",
    WriteMode.REPLACE,
    KEY,
    {"day": "day", "region": "region"},
    file="{region}/{day}.parquet",
)
BY_NEW_REGION = _sales("by_new_region", WriteMode.REPLACE, (), "region")
TICKS = TableSpec(
    name="ticks",
    row=Tick,
    source=ParquetFiles(path="{landing}/ticks/{partition_key}.parquet"),
    partition_by="at",
)

WEEKLY = _sales("weekly", WriteMode.REPLACE, (), "day")
ANY_KEY = _sales("any_key", WriteMode.REPLACE, (), "region").model_copy(update={"source": OneFile()})
MONTHLY = _sales("monthly", WriteMode.REPLACE, (), "day")


def sales(numbers: Iterable[int], day: str = DAY, *, region: str | None = None, amount: float = 1.0) -> list[Row]:
    """Sales of a day, in both regions by turns."""
    return [
        {
            "day": date.fromisoformat(day),
            "region": region or ("north", "south")[number % 2],
            "sale_id": number,
            "amount": None if number % 7 == 0 else amount + number / 3,
        }
        for number in numbers
    ]


def write_sales(landing: Path, key: str, rows: Iterable[Row]) -> Path:
    """The Parquet file of one partition."""
    path = landing / "sales" / f"{key}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(list(rows), schema=_SCHEMA, orient="row").write_parquet(path, row_group_size=100)
    return path


def write_csv_sales(landing: Path, key: str, rows: Iterable[Row]) -> Path:
    """The CSV file of one partition."""
    path = landing / "sales" / f"{key}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(list(rows), schema=_SCHEMA, orient="row").write_csv(path)
    return path


def write_ticks(landing: Path, key: str, hour: int, *, count: int) -> None:
    """Ticks of an hour of the long day, counted from its midnight."""
    begin = datetime(2024, 11, 3, 4, tzinfo=UTC) + timedelta(hours=hour)
    path = landing / "ticks" / f"{key}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"at": begin + timedelta(minutes=11 * number), "price": number / 4} for number in range(count)]
    pl.DataFrame(rows, schema={"at": pl.Datetime("us", "UTC"), "price": pl.Float64()}).write_parquet(path)


class Parcel(BaseModel):
    """A row that refers to others."""

    parcel_id: Integer
    day: date
    label: str | None
    customer: Integer | None
    inside: Integer | None


def _parcels(name: str, write_mode: WriteMode, key: tuple[str, ...]) -> TableSpec:
    return TableSpec(
        name=name,
        target=QualifiedName(schema_name="depot", table="parcels"),
        row=Parcel,
        source=ParquetFiles(path="{landing}/parcels/{partition_key}.parquet"),
        partition_by="day",
        key=key,
        write_mode=write_mode,
        dead_letters=DeadLetterBudget(rows_max=100, share_max=0.6),
    )


PARCELS = {mode: _parcels("parcels", mode, ("parcel_id", "day")) for mode in WriteMode}
PARCELS_REPLACED, PARCELS_APPENDED, PARCELS_UPSERTED = PARCELS.values()
KEYLESS_PARCELS = _parcels("parcels_keyless", WriteMode.APPEND, ())

_PARCEL_SCHEMA = {
    "parcel_id": pl.Int64(),
    "day": pl.Date(),
    "label": pl.String(),
    "customer": pl.Int64(),
    "inside": pl.Int64(),
}


def parcels(count: int, changes: dict[int, Row] | None = None, *, day: str = DAY, first: int = 0) -> list[Row]:
    """Parcels of customer 1, each with a label of its own, some of them changed."""
    return [
        {
            "parcel_id": number,
            "day": date.fromisoformat(day),
            "label": f"label {number}",
            "customer": 1,
            "inside": None,
            **(changes or {}).get(number, {}),
        }
        for number in range(first, first + count)
    ]


def write_parcels(landing: Path, rows: Iterable[Row], key: str = DAY) -> None:
    path = landing / "parcels" / f"{key}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(list(rows), schema=_PARCEL_SCHEMA, orient="row").write_parquet(path, row_group_size=10)


class Tag(BaseModel):
    """A row whose key is a text."""

    name: str
    day: date
    note: str | None


TAGS = TableSpec(
    name="tags",
    row=Tag,
    source=ParquetFiles(path="{landing}/tags/{partition_key}.parquet"),
    partition_by="day",
    key=("name", "day"),
    dead_letters=DeadLetterBudget(rows_max=100, share_max=0.6),
)


def write_tags(landing: Path, rows: Iterable[Row], key: str = DAY) -> None:
    path = landing / "tags" / f"{key}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame(
        list(rows), schema={"name": pl.String(), "day": pl.String(), "note": pl.String()}, orient="row"
    )
    frame.with_columns(pl.col("day").str.to_date()).write_parquet(path, row_group_size=100)
