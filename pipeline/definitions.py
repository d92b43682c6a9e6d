"""The Dagster definitions of this project: each table with its jobs, schedule and sensor, and its landing assets."""

from datetime import datetime

import dagster as dg

from pipeline.landing import landing_of_flights
from rowledger.dagster import build_table_defs

__all__ = ["defs"]

# Steps start from a fork server that has already loaded dagster: 0.3 s instead of 1.5 s a step. It does not load
# Rowledger, because polars does not survive a fork.
_executor = dg.multiprocess_executor.configured(
    {"start_method": {"forkserver": {"preload_modules": ["dagster", "dagster_postgres"]}}}
)

_days_of_2013 = dg.DailyPartitionsDefinition(
    start_date=datetime(2013, 1, 1),  # noqa: DTZ001 - midnight of the zone that is named below
    end_date=datetime(2014, 1, 1),  # noqa: DTZ001
    timezone="America/New_York",
)
_flights_landing = landing_of_flights(_days_of_2013)

defs = dg.Definitions.merge(
    dg.Definitions(assets=[_flights_landing], executor=_executor),
    # By a reference, so that a mistake in a table's file leaves the other tables usable.
    build_table_defs(
        "pipeline.tables.flights:FLIGHTS",
        partitions_def=_days_of_2013,
        landing=[_flights_landing],
        group_name="tables",
        jobs=True,
        schedule=True,
        sensor=True,
    ),
)
