"""The partitions of a spec, as Dagster knows them."""

from collections.abc import Sequence
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

__all__ = ["dimension_tags", "partition_keys", "partitions_definition"]

# The tags of a run over a range; written by Dagster, and documented for programs that start runs by its API.
_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"
_DIMENSION = "dagster/partition/"

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
    """The keys this run is about: those of its range where it has one, otherwise its own."""
    match partitions:
        case Unpartitioned():
            return ["all"]
        case MultiPartitions() if _RANGE_START in context.run.tags:
            keys = _keys_in_range(context, partitions)
        case _:
            keys = context.partition_keys
    # A key of two dimensions is a string with more to it; the core wants the plain one.
    return [str(key) for key in keys]


def dimension_tags(partitions: Partitions, key: str) -> dict[str, str]:
    """The tags by which an event names the dimensions of its partition's key; empty where the key has one."""
    if not isinstance(partitions, MultiPartitions):
        return {}
    dimensions = _multi_definition(partitions).get_partition_key_from_str(key).keys_by_dimension
    return {f"{_DIMENSION}{name}": own for name, own in dimensions.items()}


def _multi_definition(partitions: MultiPartitions) -> dg.MultiPartitionsDefinition:
    definition = partitions_definition(partitions)
    assert isinstance(definition, dg.MultiPartitionsDefinition)  # noqa: S101 - two dimensions have no other counterpart
    return definition


def _keys_in_range(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, partitions: MultiPartitions
) -> Sequence[str]:
    """The keys of two dimensions between the ends that the run's tags name.

    `context.partition_keys` gives one key only where the run has tags of single dimensions as well, as a backfill from a job's
    page has (dagster#28861, read in 1.13.27).
    """
    ends = dg.PartitionKeyRange(context.run.tags[_RANGE_START], context.run.tags[_RANGE_END])
    return _multi_definition(partitions).get_partition_keys_in_range(ends, dynamic_partitions_store=context.instance)


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
