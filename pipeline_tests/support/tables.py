"""Small tables, and the Parquet files they are loaded from. Workers import the specs by `module:attribute`."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import AwareDatetime, BaseModel, Field

from rowledger.contract.sql_types import Integer, varchar
from rowledger.errors import SourceError
from rowledger.sources.parquet import ParquetFiles
from rowledger.sources.spooled_source import SpooledSource
from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.old_partitions import DailyPartitions
from rowledger.spec.partition import Partition
from rowledger.spec.source import SourceContext
from rowledger.spec.table import DeadLetterBudget, Drift, TableSpec, WriteMode
from rowledger.spec.transform import FrameTransform

Row = dict[str, Any]

DAY = "2024-03-01"
NEXT_DAY = "2024-03-02"
THIRD_DAY = "2024-03-03"

_DAYS = {"start": date(2024, 3, 1), "end": date(2024, 3, 31)}
_TOLERANT = DeadLetterBudget(rows_max=200, share_max=0.5)


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
    partitions=DailyPartitions(column="at", **_DAYS),
    partition_by="at",
    key=("at", "event_id"),
    dead_letters=_TOLERANT,
)

READINGS = TableSpec(
    name="readings",
    row=Reading,
    source=ParquetFiles(path="{landing}/readings/{partition_key}.parquet"),
    dead_letters=_TOLERANT,
)

ORDERS = TableSpec(
    name="orders",
    row=Order,
    source=ParquetFiles(path="{landing}/orders/{partition_key}.parquet"),
    partitions=DailyPartitions(column="day", **_DAYS),
    key=("order_id",),
    dead_letters=_TOLERANT,
)

PARCELS = TableSpec(
    name="parcels",
    target="depot.parcels",
    row=Parcel,
    source=ParquetFiles(path="{landing}/parcels/{partition_key}.parquet"),
    partitions=DailyPartitions(column="day", **_DAYS),
    dead_letters=_TOLERANT,
)


class ParcelWithoutLabel(BaseModel):
    """The same row, once it is known that a label may be missing."""

    day: date
    parcel_id: Integer
    label: str | None


CORRECTED_PARCELS = PARCELS.model_copy(update={"name": "corrected_parcels", "row": ParcelWithoutLabel})

PATIENT_PARCELS = TableSpec(
    name="patient_parcels",
    target="depot.parcels",
    row=Parcel,
    source=PARCELS.source,
    partitions=PARCELS.partitions,
    dead_letters=DeadLetterBudget(rows_max=100_000, share_max=1),
)

STRICT_READINGS = TableSpec(
    name="strict_readings",
    row=Reading,
    source=ParquetFiles(path="{landing}/readings/{partition_key}.parquet"),
    dead_letters=DeadLetterBudget(rows_max=2, share_max=1),
)


class LeakyFiles(ParquetFiles):
    """Parquet files whose reader leaves descriptors open, as a library with a leak does."""

    def read(self, descriptor: ChunkDescriptor) -> pl.DataFrame:
        _leaked.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(40))
        return super().read(descriptor)


_leaked: list[int] = []

LEAKY_READINGS = TableSpec(
    name="leaky_readings",
    row=Reading,
    source=LeakyFiles(path="{landing}/readings/{partition_key}.parquet"),
)


def leave_descriptors_open(frame: pl.DataFrame) -> pl.DataFrame:
    _leaked.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(40))
    return frame


LEAKY_EVENTS = TableSpec(
    name="leaky_events",
    row=Event,
    source=EVENTS.source,
    partitions=EVENTS.partitions,
    key=EVENTS.key,
    transform=FrameTransform(function=leave_descriptors_open),
    dead_letters=_TOLERANT,
)
"""Events whose transform leaves descriptors open, in loads as in replays."""


class ForkingFiles(ParquetFiles):
    """Parquet files whose first reader leaves a child behind, which holds all that the worker has open; its pid is kept."""

    def read(self, descriptor: ChunkDescriptor) -> pl.DataFrame:
        frame = super().read(descriptor)
        kept = Path(f"{descriptor.origin}.child")
        if not kept.exists():
            child = os.fork()
            if child == 0:
                time.sleep(120)
                os._exit(0)
            kept.write_text(str(child))
        return frame


FORKING_READINGS = TableSpec(
    name="forking_readings",
    row=Reading,
    source=ForkingFiles(path="{landing}/readings/{partition_key}.parquet"),
)


class TrickledFiles(SpooledSource):
    """What a folder's files hold, spooled file by file: `N.parquet` has rows, `N.wait` lasts until it is
    deleted, `N.fail` fails.
    """

    path: str

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        spool = self.new_spool(scope)
        folder = Path(self.path.format(landing=scope.landing_dir, partition_key=partition.key))
        for file in sorted(folder.iterdir()):
            match file.suffix:
                case ".parquet":
                    yield from spool.write([pl.read_parquet(file)], origin=file.name)
                case ".fail":
                    raise SourceError(f"{file.name}: as it was asked to")
                case ".wait":
                    while file.exists():
                        time.sleep(0.01)


class SpooledFiles(SpooledSource):
    """Parquet files that are spooled a few hundred rows at a time, as if they could not be counted beforehand."""

    path: str

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        file = Path(self.path.format(landing=scope.landing_dir, partition_key=partition.key))
        yield from self.new_spool(scope).write(pl.read_parquet(file).iter_slices(500), origin=file.name)


def _spooled(spec: TableSpec) -> TableSpec:
    source = SpooledFiles(path=f"{{landing}}/{spec.name}/{{partition_key}}.parquet")
    return spec.model_copy(update={"source": source})


SPOOLED_EVENTS, SPOOLED_READINGS = _spooled(EVENTS), _spooled(READINGS)
SPOOLED_ORDERS, SPOOLED_PARCELS = _spooled(ORDERS), _spooled(PARCELS)

_APPEND = {"write_mode": WriteMode.APPEND}
APPENDED_EVENTS, APPENDED_READINGS = EVENTS.model_copy(update=_APPEND), READINGS.model_copy(update=_APPEND)
APPENDED_ORDERS, APPENDED_PARCELS = ORDERS.model_copy(update=_APPEND), PARCELS.model_copy(update=_APPEND)

_UPSERT = {"write_mode": WriteMode.UPSERT}
UPSERTED_EVENTS, UPSERTED_ORDERS = EVENTS.model_copy(update=_UPSERT), ORDERS.model_copy(update=_UPSERT)


TRICKLE = TableSpec(
    name="trickle",
    row=Event,
    source=TrickledFiles(path="{landing}/trickle/{partition_key}"),
    partitions=DailyPartitions(column="at", **_DAYS),
    key=("at", "event_id"),
    dead_letters=_TOLERANT,
)


DRIFTING = {
    drift: TableSpec(
        name=f"drifting_{drift}",
        row=Parcel,
        source=TrickledFiles(path="{landing}/trickle/{partition_key}"),
        partitions=DailyPartitions(column="day", **_DAYS),
        dead_letters=_TOLERANT,
        drift=drift,
    )
    for drift in Drift
}
DRIFTING_FREEZE, DRIFTING_EVOLVE, DRIFTING_DISCARD_VALUE, DRIFTING_DISCARD_ROW = DRIFTING.values()

PLANNED_DRIFT = {
    drift: TableSpec(
        name=f"planned_drift_{drift}",
        row=Parcel,
        source=ParquetFiles(path="{landing}/trickle/{partition_key}/*.parquet"),
        partitions=DailyPartitions(column="day", **_DAYS),
        dead_letters=_TOLERANT,
        drift=drift,
    )
    for drift in Drift
}
PLANNED_FREEZE, PLANNED_EVOLVE, PLANNED_DISCARD_VALUE, PLANNED_DISCARD_ROW = PLANNED_DRIFT.values()


def keep_halves(frame: pl.DataFrame) -> pl.DataFrame:
    """Filters rows with an odd sensor, refuses those without a value, and halves the values of the others."""
    if frame["value"].null_count():
        raise ValueError(f"no value in {frame.rows()}")
    return frame.filter(pl.col("sensor") % 2 == 0).with_columns(pl.col("value") / 2)


HALVED_READINGS = TableSpec(
    name="halved_readings",
    row=Reading,
    source=READINGS.source,
    transform=FrameTransform(function=keep_halves),
    key=("sensor",),
    dead_letters=_TOLERANT,
)


def repeat_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """As many rows of each as its sensor's number says, with values 0, 1, 2 …"""
    repeated = frame.with_columns(value=pl.int_ranges(pl.col("sensor").clip(0)))
    return repeated.explode("value", empty_as_null=False, keep_nulls=False).with_columns(
        pl.col("value").cast(pl.Float64)
    )


REPEATED_READINGS = TableSpec(
    name="repeated_readings",
    row=Reading,
    source=READINGS.source,
    transform=FrameTransform(function=repeat_rows, adds_rows=True),
    dead_letters=_TOLERANT,
)

MULTIPLIED_READINGS = TableSpec(
    name="multiplied_readings",
    row=Reading,
    source=READINGS.source,
    transform=FrameTransform(function=repeat_rows),
    dead_letters=_TOLERANT,
)

KEYED_READINGS = TableSpec(
    name="keyed_readings", row=Reading, source=READINGS.source, key=("sensor",), dead_letters=_TOLERANT
)

CHUNKS = TableSpec(
    name="chunk",  # as one of the ledger's own tables
    row=Reading,
    source=ParquetFiles(path="{landing}/readings/{partition_key}.parquet"),
    dead_letters=_TOLERANT,
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


SOUR = " (sour)"
"""What a text ends in that a table made by `SOUR_TABLES` refuses, and that no contract knows to be wrong."""

SOUR_TABLES = {
    "events": "create table public.events (at timestamptz not null, event_id integer not null, name text not null, "
    "amount double precision not null, note text, code varchar(8) not null, primary key (at, event_id), "
    "constraint no_sour_name check (name not like '%(sour)')) partition by range (at)",
    "orders": "create table public.orders (order_id integer not null primary key, day date not null, item text not null, "
    "constraint no_sour_item check (item not like '%(sour)'))",
    "parcels": "create schema depot; create table depot.parcels (day date, parcel_id integer, label text, "
    "constraint no_sour_label check (label not like '%(sour)'))",
}
"""Tables as loads would make them, each with a rule of its own."""
