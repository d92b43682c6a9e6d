"""The asset `takings`, whose function returns the rows of its table."""

import datetime as dt

import dagster as dg
import polars as pl

from rowledger.dagster import rowledger_asset
from shop.tables import Takings


@rowledger_asset(
    row=Takings,
    key=("day", "shop"),
    partitions_def=dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-03"),
    partition_by="day",
    deps=["sales"],
    group_name="shop",
)
def takings(context: dg.AssetExecutionContext) -> pl.DataFrame:
    """What each shop takes on a day."""
    day = context.partition_key
    sales = pl.read_csv(f"data/sales/{day}.csv").with_columns(pl.col("amount").cast(pl.Decimal(10, 2), strict=False))
    totals = sales.group_by("shop", maintain_order=True).agg(pl.col("amount").sum())
    return totals.select(pl.lit(dt.date.fromisoformat(day)).alias("day"), "shop", "amount")
