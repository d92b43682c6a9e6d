"""The partitions of a spec, as Dagster knows them."""

from datetime import datetime, timedelta

import dagster as dg

from pipeline.errors import SpecError
from pipeline.model.partition import (
    DailyPartitions,
    DynamicPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    MultiPartitions,
    Partitions,
    StaticPartitions,
    TimeWindowPartitions,
    Unpartitioned,
    WeeklyPartitions,
)

__all__ = ["partition_keys", "partitions_definition"]

_SUNDAY_FIRST = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


def partitions_definition(partitions: Partitions) -> dg.PartitionsDefinition | None:
    """Dagster's counterpart with the very same keys; None for a table that is loaded whole."""
    match partitions:
        case Unpartitioned():
            return None
        case TimeWindowPartitions():
            return _time_windows(partitions)
        case StaticPartitions():
            return dg.StaticPartitionsDefinition(partitions.keys())
        case DynamicPartitions():
            return dg.DynamicPartitionsDefinition(name=partitions.name)
        case MultiPartitions():
            dimensions = {name: partitions_definition(own) for name, own in partitions.dimensions.items()}
            return dg.MultiPartitionsDefinition({name: own for name, own in dimensions.items() if own is not None})
        case _:
            raise SpecError(f"partitions of kind {type(partitions).__name__} have no counterpart in Dagster")


def partition_keys(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, partitions: Partitions
) -> list[str]:
    """The keys this run is about."""
    # A key of two dimensions is a string with more to it; the core wants the plain one.
    return ["all"] if isinstance(partitions, Unpartitioned) else [str(key) for key in context.partition_keys]


def _time_windows(partitions: TimeWindowPartitions) -> dg.TimeWindowPartitionsDefinition:
    # Read as local times of the zone; with hours, which Dagster's hourly partitions ask for.
    start = datetime.combine(partitions.start, datetime.min.time())
    end = datetime.combine(partitions.end + timedelta(days=1), datetime.min.time()) if partitions.end else None
    match partitions:
        case HourlyPartitions():
            return dg.HourlyPartitionsDefinition(start_date=start, end_date=end, timezone=partitions.timezone)
        case DailyPartitions():
            return dg.DailyPartitionsDefinition(start_date=start, end_date=end, timezone=partitions.timezone)
        case WeeklyPartitions():
            return dg.WeeklyPartitionsDefinition(
                start_date=start,
                end_date=end,
                timezone=partitions.timezone,
                day_offset=_SUNDAY_FIRST.index(partitions.begins_on),
            )
        case MonthlyPartitions():
            return dg.MonthlyPartitionsDefinition(start_date=start, end_date=end, timezone=partitions.timezone)
        case _:
            raise SpecError(f"partitions of kind {type(partitions).__name__} have no counterpart in Dagster")
