"""Existing assets whose rows the IO manager loads as tables, and loads back."""

import functools
import ipaddress
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from pydantic import AwareDatetime, BaseModel, Field, Json

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import FAST
from rowledger.dagster import GuardedWriter, RowledgerDatabase, RowledgerIOManager

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    # Dagster itself uses it for nested resources.
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
]


class Reading(BaseModel):
    day: date
    place: str
    value: float


class Everything(BaseModel):
    n: int
    price: Annotated[Decimal, Field(max_digits=10, decimal_places=2)]
    any_number: Decimal
    at: AwareDatetime
    clock: time
    id: uuid.UUID
    document: Json[dict[str, Any]] | None
    address: ipaddress.IPv4Address
    content: bytes
    parts: list[int]
    small: float | None


DAYS = dg.DailyPartitionsDefinition("2024-03-01", end_date="2024-04-01")
FIRST, SECOND, THIRD = "2024-03-01", "2024-03-02", "2024-03-03"
ROW = f"{__name__}:Reading"
TABLE = {"rowledger/row": ROW, "rowledger/key": ["day", "place"], "rowledger/partition_by": "day"}

daily = functools.partial(
    dg.asset, partitions_def=DAYS, metadata=TABLE, backfill_policy=dg.BackfillPolicy.single_run(), name="readings"
)


def rows(*days: str, places: int = 3) -> pl.DataFrame:
    found = [
        {"day": date.fromisoformat(day), "place": f"place {n}", "value": n / 4} for day in days for n in range(places)
    ]
    return pl.DataFrame(found, schema={"day": pl.Date, "place": pl.String, "value": pl.Float64})


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def materialize(database: str, instance: dg.DagsterInstance) -> Any:
    manager = RowledgerIOManager(database=RowledgerDatabase(url=database), writer=GuardedWriter(**FAST))

    def run(*assets: Any, key: str | None = None, **options: Any) -> dg.ExecuteInProcessResult:
        resources = {"io_manager": manager}
        return dg.materialize(assets, instance=instance, resources=resources, partition_key=key, **options)

    return run


def over(first: str, last: str) -> dict[str, str]:
    """The tags of a run over a range."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def materialized(result: dg.ExecuteInProcessResult) -> dict[str | None, dict[str, Any]]:
    """The metadata of each materialized partition."""
    found = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    return {event.partition: {key: value.value for key, value in event.metadata.items()} for event in found}


def test_a_partition_is_loaded_with_its_metadata_and_replaced(database: str, materialize: Any) -> None:
    @daily()
    def readings(context: dg.AssetExecutionContext) -> pl.DataFrame:
        return rows(context.partition_key, places=int(context.partition_key[-1]))

    for key in (THIRD, FIRST, THIRD):
        found = materialized(materialize(readings, key=key))[key]
    assert (found["dagster/partition_row_count"], found["enqueued_rows"], found["crashed_workers"]) == (3, 3, 0)
    assert str(found["dagster/table_name"]).endswith(".public.readings"), "behind the name of the test's database"
    assert fetch(database, "select day::text, count(*) from readings group by 1 order by 1") == [(FIRST, 1), (THIRD, 3)]
    assert_nothing_left_over(database)


def test_each_row_of_a_range_goes_to_its_partition(database: str, materialize: Any) -> None:
    @daily()
    def readings() -> pd.DataFrame:
        return rows(THIRD, FIRST).to_pandas()

    result = materialized(materialize(readings, tags=over(FIRST, THIRD)))

    counts = {key: metadata["dagster/partition_row_count"] for key, metadata in result.items()}
    assert counts == {FIRST: 3, SECOND: 0, THIRD: 3}
    assert fetch_value(database, "select count(*) from readings") == 6


def test_a_discrepancy_is_a_failure_before_any_materialization(database: str, materialize: Any) -> None:
    @daily()
    def readings() -> pl.DataFrame:
        return rows(FIRST, SECOND)  # those of the second day are refused, and are more than the budget allows

    with pytest.raises(dg.Failure, match=rf"readings: partition {FIRST} not published: DeadLetterBudgetSpent"):
        materialize(readings, key=FIRST)
    assert materialized(materialize(readings, key=FIRST, raise_on_error=False)) == {}
    assert fetch_value(database, "select count(*) from readings") == 0


def test_assets_whose_keys_differ_in_their_prefix_alone_have_tables_of_their_own(
    database: str, materialize: Any
) -> None:
    found: list[int] = []

    @dg.asset(key_prefix="shop_a", metadata={"rowledger/row": ROW})
    def orders() -> pl.DataFrame:
        return rows(FIRST, places=3)

    @dg.asset(key_prefix="shop_b", name="orders", metadata={"rowledger/row": ROW})
    def other_orders() -> pl.DataFrame:
        return rows(FIRST, places=2)

    @dg.asset(ins={"orders": dg.AssetIn(["shop_a", "orders"])})
    def after(orders: pl.DataFrame) -> list[Reading]:
        found.append(orders.height)
        return []

    materialize(orders, other_orders)
    materialize(orders, after, selection=[after])

    assert found == [3]
    assert fetch_value(database, "select count(*) from shop_b__orders") == 2
    kept = "select table_name, asset_key from rowledger.table_spec where table_name like 'shop%' order by 1"
    assert fetch(database, kept) == [
        ("shop_a__orders", ["shop_a", "orders"]),
        ("shop_b__orders", ["shop_b", "orders"]),
    ]


def test_a_table_of_another_asset_whose_key_makes_the_same_name_is_left_alone(database: str, materialize: Any) -> None:
    @dg.asset(key_prefix="shop", metadata={"rowledger/row": ROW})
    def orders() -> pl.DataFrame:
        return rows(FIRST, places=3)

    def joined(**metadata: str) -> dg.AssetsDefinition:
        @dg.asset(name="shop__orders", metadata={"rowledger/row": ROW, **metadata})
        def shop_orders() -> pl.DataFrame:
            return rows(FIRST, places=2)

        return shop_orders

    @dg.asset(ins={"frame": dg.AssetIn("shop__orders")})
    def after(frame: pl.DataFrame) -> list[Reading]:
        return [Reading(**row) for row in frame.to_dicts()]

    materialize(orders)
    materialize(orders)
    with pytest.raises(
        dg.Failure,
        match=r"shop__orders: .*asset shop/orders, which has loaded public.shop__orders; .*Give this asset a name",
    ):
        materialize(joined())
    with pytest.raises(
        dg.Failure,
        match=r"shop__orders: .*asset shop/orders, which has loaded public.shop__orders; .*Give this asset a name",
    ):
        materialize(joined(), after, selection=[after])
    assert fetch_value(database, "select count(*) from shop__orders") == 3

    materialize(joined(**{"rowledger/name": "shop_orders"}))
    assert fetch_value(database, "select count(*) from shop_orders") == 2


def test_the_contract_may_be_named_in_metadata_or_in_the_annotation(database: str, materialize: Any) -> None:
    @dg.asset(metadata={"rowledger/row": dg.MetadataValue.python_artifact(Reading), "rowledger/target": "named"})
    def by_name() -> list[dict[str, Any]]:
        return rows(FIRST).to_dicts()

    @dg.asset
    def annotated() -> list[Reading]:
        return [Reading(**row) for row in rows(FIRST).to_dicts()]

    @dg.asset(metadata={"rowledger/row": {"columns": {"day": "date", "place": "text", "value": "float"}}})
    def declared() -> pa.Table:
        return rows(FIRST).to_arrow()

    materialize(by_name, annotated, declared)

    assert [fetch_value(database, f"select count(*) from {name}") for name in ("named", "annotated", "declared")] == [
        3
    ] * 3


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({}, "asset readings: nothing says what its rows look like; give it the metadata rowledger/row"),
        (
            {"rowledger/row": ROW, "rowledger/keys": ["day"]},
            r"its metadata rowledger/keys is none of rowledger/row, ",
        ),
        ({"rowledger/row": ROW, "rowledger/write_mode": "merge"}, "its metadata: write_mode: Input should be"),
        ({"rowledger/row": "nowhere:Row"}, "row nowhere:Row cannot be imported"),
    ],
)
def test_an_asset_that_names_no_table_is_told_what_is_missing(materialize: Any, metadata: Any, told: str) -> None:
    @dg.asset(metadata=metadata)
    def readings() -> pl.DataFrame:
        return rows(FIRST)

    with pytest.raises(dg.Failure, match=told):
        materialize(readings)


def test_rows_are_loaded_back_as_they_were_in_the_annotated_class(materialize: Any) -> None:
    found: dict[str, Any] = {}
    originals = rows(FIRST)

    @dg.asset(metadata={"rowledger/row": ROW})
    def readings() -> pl.DataFrame:
        return originals

    @dg.asset
    def as_default(readings) -> list[Reading]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        found["default"] = readings
        return []

    @dg.asset(ins={"frame": dg.AssetIn("readings")})
    def as_pandas(frame: pd.DataFrame) -> list[Reading]:
        found["pandas"] = pl.from_pandas(frame)
        return []

    @dg.asset(ins={"frame": dg.AssetIn("readings", metadata={"columns": ["value", "place"]})})
    def as_arrow(frame: pa.Table) -> list[Reading]:
        found["columns"] = pl.DataFrame(frame)
        return []

    @dg.asset(ins={"frame": dg.AssetIn("readings")})
    def as_lazy(frame: pl.LazyFrame) -> list[Reading]:
        found["lazy"] = frame.collect()
        return []

    materialize(readings, as_default, as_pandas, as_arrow, as_lazy)

    for kind in ("default", "pandas", "lazy"):
        assert_frame_equal(found[kind].sort("place"), originals)
    assert_frame_equal(found["columns"].sort("place"), originals.select("value", "place"))


def test_values_of_every_kind_come_back_exactly(materialize: Any) -> None:
    row = {
        "n": 2**62 + 1,
        "price": Decimal("1.50"),
        "any_number": Decimal("12345678901234567890.123"),
        "at": datetime(2024, 3, 1, 12, 30, 0, 1, tzinfo=UTC),
        "clock": time(1, 2, 3, 4),
        "id": uuid.UUID(int=7),
        "document": '{"a": [1, 2.50]}',
        "address": "10.0.0.1",
        "content": b"\x00\xff",
        "parts": [1, 2],
        "small": None,
    }
    found: list[pl.DataFrame] = []

    @dg.asset(metadata={"rowledger/row": f"{__name__}:Everything"})
    def everything() -> list[dict[str, Any]]:
        return [row]

    @dg.asset
    def after(everything: pl.DataFrame) -> list[Reading]:
        found.append(everything)
        return []

    @dg.asset(metadata={"rowledger/row": f"{__name__}:Everything"})
    def nothing() -> list[dict[str, Any]]:
        return []

    @dg.asset
    def after_nothing(nothing: pl.DataFrame) -> list[Reading]:
        found.append(nothing)
        return []

    materialize(everything, after, nothing, after_nothing)

    full, empty = sorted(found, key=lambda frame: -frame.height)
    assert full.to_dicts() == [row | {"id": str(row["id"])}]
    assert full.schema["price"] == pl.Decimal(10, 2)
    assert full.schema["at"] == pl.Datetime("us", "UTC")
    assert full.schema["small"] == pl.Float64
    assert (empty.height, empty.columns) == (0, full.columns)
    assert empty.schema["id"] == pl.String


def test_an_input_has_the_rows_of_the_partitions_that_it_maps_to(materialize: Any) -> None:
    found: dict[str, pl.DataFrame] = {}

    @daily()
    def readings() -> pl.DataFrame:
        return rows(FIRST, SECOND, THIRD)

    @daily(name="same_day")
    def same_day(readings: pl.DataFrame) -> pl.DataFrame:
        found["same"] = readings
        return rows()

    @daily(
        name="two_days",
        ins={"readings": dg.AssetIn(partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=0))},
    )
    def two_days(readings: pl.DataFrame) -> pl.DataFrame:
        found["two"] = readings
        return rows()

    @dg.asset(metadata={"rowledger/row": ROW})
    def all_days(readings: pl.DataFrame) -> pl.DataFrame:
        found["all"] = readings
        return rows()

    materialize(readings, tags=over(FIRST, THIRD))
    for asset, key in ((same_day, SECOND), (two_days, THIRD), (all_days, None)):
        materialize(readings, asset, key=key, selection=[asset])

    assert found["same"]["day"].unique().to_list() == [date(2024, 3, 2)]
    assert sorted(found["two"]["day"].unique()) == [date(2024, 3, 2), date(2024, 3, 3)]
    assert found["all"].height == 9
