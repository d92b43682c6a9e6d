"""Landing assets: they fetch a source and write it, one file a partition, where the table specs read it."""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from pipeline.nycflights import land_flights
from rowledger import landing_folder
from rowledger.dagster import errors_as_failures, partition_keys

__all__ = ["landing_of_flights"]


def landing_of_flights(days_def: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `flights_landing`, which lands the days of 2013."""

    @dg.asset(
        name="flights_landing",
        group_name="landing",
        kinds={"parquet"},
        description="Flights that left New York's airports in 2013, a Parquet file a day.",
        partitions_def=days_def,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def flights_landing(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        """Write the days of this run; a day that was landed before is written again."""
        with errors_as_failures("flights_landing"):
            days = [date.fromisoformat(key) for key in partition_keys(context, days_def)]
            folder = landing_folder("flights")
            rows = land_flights(days, folder)
        for key in context.partition_keys:
            file = (folder / f"{key}.parquet").resolve()
            place = {"path": dg.MetadataValue.path(file), "dagster/uri": file.as_uri()}
            shown = {"dagster/partition_row_count": rows[key], **place}
            context.add_asset_metadata(shown, partition_key=key)
        yield dg.MaterializeResult()

    return flights_landing
