"""Landing assets: they fetch a source and write it, a file a partition, where the table specs read it."""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from pipeline.defs.metadata import failure_of
from pipeline.defs.partitions import partitions_definition
from pipeline.errors import RowledgerError
from pipeline.free_space import require_free_space
from pipeline.settings import settings
from pipeline.source.nycflights import land_flights
from pipeline.tables.flights import FLIGHTS

__all__ = ["LANDING", "flights_landing"]


@dg.asset(
    group_name="landing",
    kinds={"parquet"},
    description="Flights that left New York's airports in 2013, a Parquet file a day.",
    partitions_def=partitions_definition(FLIGHTS.partitions),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def flights_landing(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    """Write the days of this run; a day that was landed before is written anew."""
    days = [date.fromisoformat(key) for key in context.partition_keys]
    try:
        folder = settings().landing_dir / "flights"
        require_free_space(folder, settings().disk_free_min_bytes)
        rows = land_flights(days, folder)
    except RowledgerError as error:
        raise failure_of("flights_landing", error) from None
    for key in context.partition_keys:
        context.add_asset_metadata({"dagster/partition_row_count": rows[key]}, partition_key=key)
    yield dg.MaterializeResult()


LANDING = (flights_landing,)
