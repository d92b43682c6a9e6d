"""A table whose rows a Python function gives, one in an object store, and one of another database.

The function runs in a process of its own, so a test says by `give` which of its functions makes the rows.
"""

import os
import pkgutil
from collections.abc import Callable, Iterator
from datetime import date, time
from decimal import Decimal
from typing import Any

import pytest
from pydantic import AwareDatetime, BaseModel, Json, NaiveDatetime

from rowledger.contract.sql_types import Integer, Real
from rowledger.sources.parquet import ParquetFiles
from rowledger.sources.python import PythonRows
from rowledger.sources.sql import SqlQuery
from rowledger.spec.partition import Partition
from rowledger.spec.table import DeadLetterBudget, TableSpec, WriteMode


class Border(BaseModel):
    """A row of values that one library or another loses."""

    n: Integer
    at: NaiveDatetime
    clock: time
    word: str
    pairs: dict[str, int]
    id: str


class SensorReading(BaseModel):
    """A row without a key."""

    sensor: Integer
    value: float | None


class DayNumber(BaseModel):
    """A row that tells which partition it is of."""

    day: date
    n: Integer


_GIVING = "FUNCTION_THAT_GIVES_ROWS"


def give(monkeypatch: pytest.MonkeyPatch, function: Callable[[Partition], Iterator[object]]) -> None:
    """Have the rows made by this function of a module."""
    monkeypatch.setenv(_GIVING, f"{function.__module__}:{function.__qualname__}")


def readings_as_given(partition: Partition) -> Iterator[object]:
    """The rows of the function that was named last."""
    yield from pkgutil.resolve_name(os.environ[_GIVING])(partition)


GENERATED_BY_DAY = TableSpec(
    name="generated_by_day",
    row=DayNumber,
    source=PythonRows(function=readings_as_given),
    partition_by="day",
)

GENERATED = TableSpec(
    name="generated",
    row=SensorReading,
    source=PythonRows(function=readings_as_given),
    dead_letters=DeadLetterBudget(rows_max=200, share_max=0.5),
)

STORED = TableSpec(
    name="stored",
    row=SensorReading,
    source=ParquetFiles(path="s3://shop/stored/{partition_key}.parquet"),
)

QUERIED = TableSpec(
    name="queried",
    row=SensorReading,
    source=SqlQuery(query="select sensor, value from shop_readings order by 1", url_variable="SHOP_URL"),
    dead_letters=DeadLetterBudget(rows_max=10, share_max=0.5),
)


class Sample(BaseModel):
    """A row of types that a database has, and Arrow or polars have not."""

    n: Integer
    label: str
    opens: time
    since: AwareDatetime
    parts: list[bytes]
    scales: list[Real]
    key: str
    anything: Any
    amount: Any
    document: Json[dict[str, Any]]
    ratio: float


SAMPLED = TableSpec(
    name="sampled",
    row=Sample,
    source=SqlQuery(query="select * from samples order by n", url_variable="SHOP_URL"),
    dead_letters=DeadLetterBudget(rows_max=10, share_max=1),
)

BORDERS = TableSpec(
    name="borders",
    row=Border,
    source=ParquetFiles(path="{landing}/borders.parquet"),
    dead_letters=DeadLetterBudget(rows_max=10, share_max=1),
)


class Priced(BaseModel):
    """A row of decimals of whichever scale."""

    n: Integer
    amount: Decimal | None
    amounts: list[Decimal]
    document: dict[str, Any]


PRICED = TableSpec(
    name="priced",
    row=Priced,
    source=PythonRows(function=readings_as_given),
    dead_letters=DeadLetterBudget(rows_max=10, share_max=1),
)

APPENDED_PRICES = PRICED.model_copy(update={"name": "appended_prices", "write_mode": WriteMode.APPEND})
