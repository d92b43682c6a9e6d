"""Landing assets: they fetch a source and write it, a file a partition, where the table specs read it."""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from pipeline.nycflights import land_flights
from pipeline.tables import Tables
from rowledger.dagster import broken_asset, failure_of, partition_keys, partitions_definition
from rowledger.errors import RowledgerError
from rowledger.machine import require_free_space
from rowledger.settings import settings
from rowledger.spec import Partitions

__all__ = ["landing_assets"]


def landing_assets(tables: Tables) -> tuple[dg.AssetsDefinition, ...]:
    """The landing assets of the tables that there are; one whose table cannot be used fails with that table's mistake."""
    if (flights := tables.specs.get("flights")) is not None:
        return (_flights_landing(flights.partitions),)
    messages = [broken.message for broken in tables.broken if broken.name == "flights"]
    return tuple(broken_asset("flights_landing", message, group_name="landing") for message in messages[:1])


def _flights_landing(partitions: Partitions) -> dg.AssetsDefinition:
    @dg.asset(
        name="flights_landing",
        group_name="landing",
        kinds={"parquet"},
        description="Flights that left New York's airports in 2013, a Parquet file a day.",
        partitions_def=partitions_definition(partitions),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def flights_landing(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        """Write the days of this run; a day that was landed before is written anew."""
        try:
            days = [date.fromisoformat(key) for key in partition_keys(context, partitions)]
            folder = settings().landing_dir / "flights"
            require_free_space(folder, settings().disk_free_min_bytes)
            rows = land_flights(days, folder)
        except RowledgerError as error:
            raise failure_of("flights_landing", error) from None
        for key in context.partition_keys:
            context.add_asset_metadata({"dagster/partition_row_count": rows[key]}, partition_key=key)
        yield dg.MaterializeResult()

    return flights_landing
