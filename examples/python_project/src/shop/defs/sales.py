"""The asset `sales`: a day of sales is a partition."""

import dagster as dg

from rowledger.dagster import build_table_defs
from shop.tables import SALES

sales = build_table_defs(
    SALES,
    partitions_def=dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-03"),
    group_name="shop",
    owners=["team:tills"],
)
