"""Small tables that most tests load, and rows for them as Parquet files. Workers import the specs by `module:attribute`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import AwareDatetime, BaseModel, Field

from rowledger.contract.sql_types import Integer, varchar
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.table import DeadLetterBudget, QualifiedName, TableSpec, WriteMode

Row = dict[str, Any]

DAY = "2024-03-01"
NEXT_DAY = "2024-03-02"
THIRD_DAY = "2024-03-03"

TOLERANT = DeadLetterBudget(rows_max=200, share_max=0.5)


class Event(BaseModel):
    """A row with a column of most kinds."""

    at: AwareDatetime
    event_id: Annotated[Integer, Field(ge=0)]
    name: str
    amount: float
    note: str | None
    code: Annotated[str, varchar(8)]


class Reading(BaseModel):
    """A row without a key."""

    sensor: Integer
    value: float | None


class Order(BaseModel):
    """A row whose key does not hold the partition column."""

    order_id: Integer
    day: date
    item: str


class Parcel(BaseModel):
    """A row that the tests have an existing table of."""

    day: date
    parcel_id: Integer
    label: str


EVENTS = TableSpec(
    name="events",
    row=Event,
    source=ParquetFiles(path="{landing}/events/{partition_key}.parquet"),
    partition_by="at",
    key=("at", "event_id"),
    dead_letters=TOLERANT,
)

READINGS = TableSpec(
    name="readings",
    row=Reading,
    source=ParquetFiles(path="{landing}/readings/{partition_key}.parquet"),
    dead_letters=TOLERANT,
)

ORDERS = TableSpec(
    name="orders",
    row=Order,
    source=ParquetFiles(path="{landing}/orders/{partition_key}.parquet"),
    partition_by="day",
    key=("order_id",),
    dead_letters=TOLERANT,
)

PARCELS = TableSpec(
    name="parcels",
    target="depot.parcels",
    row=Parcel,
    source=ParquetFiles(path="{landing}/parcels/{partition_key}.parquet"),
    partition_by="day",
    dead_letters=TOLERANT,
)


class ParcelWithoutLabel(BaseModel):
    """The same row, once it is known that a label may be missing."""

    day: date
    parcel_id: Integer
    label: str | None


CORRECTED_PARCELS = PARCELS.model_copy(update={"row": ParcelWithoutLabel})

PATIENT_PARCELS = TableSpec(
    name="patient_parcels",
    target=QualifiedName(schema_name="depot", table="parcels"),
    row=Parcel,
    source=PARCELS.source,
    partition_by="day",
    dead_letters=DeadLetterBudget(rows_max=100_000, share_max=1),
)

STRICT_READINGS = TableSpec(
    name="strict_readings",
    row=Reading,
    source=ParquetFiles(path="{landing}/readings/{partition_key}.parquet"),
    dead_letters=DeadLetterBudget(rows_max=2, share_max=1),
)


_APPEND = {"write_mode": WriteMode.APPEND}
APPENDED_EVENTS, APPENDED_READINGS = EVENTS.model_copy(update=_APPEND), READINGS.model_copy(update=_APPEND)
APPENDED_ORDERS, APPENDED_PARCELS = ORDERS.model_copy(update=_APPEND), PARCELS.model_copy(update=_APPEND)

_UPSERT = {"write_mode": WriteMode.UPSERT}
UPSERTED_EVENTS, UPSERTED_ORDERS = EVENTS.model_copy(update=_UPSERT), ORDERS.model_copy(update=_UPSERT)


KEYED_READINGS = TableSpec(
    name="keyed_readings", row=Reading, source=READINGS.source, key=("sensor",), dead_letters=TOLERANT
)

CHUNKS = TableSpec(
    name="chunk",  # as one of the ledger's own tables
    row=Reading,
    source=ParquetFiles(path="{landing}/readings/{partition_key}.parquet"),
    dead_letters=TOLERANT,
)

SCHEMAS: dict[str, dict[str, pl.DataType]] = {
    "events": {
        "at": pl.Datetime("us", "UTC"),
        "event_id": pl.Int64(),
        "name": pl.String(),
        "amount": pl.Float64(),
        "note": pl.String(),
        "code": pl.String(),
    },
    "readings": {"sensor": pl.Int64(), "value": pl.Float64()},
    "orders": {"order_id": pl.Int64(), "day": pl.Date(), "item": pl.String()},
    "parcels": {"day": pl.Date(), "parcel_id": pl.Int64(), "label": pl.String()},
}


def events(count: int, day: str = DAY, *, first: int = 0) -> list[Row]:
    """Good events of a day, one a second."""
    midnight = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return [
        {
            "at": midnight + timedelta(seconds=number),
            "event_id": number,
            "name": f"event {number} of {day}, ünïcode",
            "amount": number / 3,
            "note": None if number % 5 == 0 else f"note {number % 17}",
            "code": f"C{number % 1000}",
        }
        for number in range(first, first + count)
    ]


def wide_events(count: int, day: str = DAY, *, first: int = 0) -> list[Row]:
    """Events of 12 KB: a thousand of them are more than the sockets between a worker and its backend hold."""
    return [{**row, "note": f"{row['event_id']:>12000}"} for row in events(count, day, first=first)]


def readings(count: int) -> list[Row]:
    """Readings, some of which are whole duplicates of others, as a table without key may have."""
    return [{"sensor": number % 7, "value": None if number % 11 == 0 else number % 13 / 4} for number in range(count)]


def orders(count: int, day: str = DAY, *, first: int = 0) -> list[Row]:
    return [
        {"order_id": number, "day": date.fromisoformat(day), "item": f"item {number}"}
        for number in range(first, first + count)
    ]


def parcels(count: int, day: str = DAY) -> list[Row]:
    return [{"day": date.fromisoformat(day), "parcel_id": n, "label": f"parcel {n} of {day}"} for n in range(count)]


def changed(rows: Sequence[Row], changes: Mapping[int, Mapping[str, object]]) -> list[Row]:
    """The rows, some of them changed."""
    return [{**row, **changes.get(number, {})} for number, row in enumerate(rows)]


def write_source(landing: Path, table: str, key: str, rows: Iterable[Row], *, row_group_rows: int = 100) -> Path:
    """The Parquet file of one partition."""
    schema = SCHEMAS["readings" if table == "strict_readings" else table]
    path = landing / ("readings" if table == "strict_readings" else table) / f"{key}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(list(rows), schema=schema, orient="row").write_parquet(path, row_group_size=row_group_rows)
    return path
