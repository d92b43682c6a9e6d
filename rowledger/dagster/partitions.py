"""The partitions of a spec, as Dagster knows them."""

import itertools
from collections.abc import Mapping
from datetime import datetime, timedelta

import dagster as dg

from rowledger.errors import SpecError, UnknownPartition
from rowledger.spec import (
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
_KEY = "dagster/partition"
_DIMENSION = f"{_KEY}/"

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
    """The keys this run is about: those of its range where it has one, otherwise its own.

    They are read from the run's tags, because `context.partition_keys` ignores the range of a run that has tags of single
    dimensions as well. Each run of a backfill from a job's page has those of the backfill's first key, which may be a key of
    another run (dagster#28861, read in 1.13.27).

    Raises UnknownPartition for a key that does not exist, for a range that ends before it begins, for tags that do not agree.
    """
    definition = partitions_definition(partitions)
    if definition is None:
        return ["all"]
    tags = context.run.tags
    own = _own_key(tags, definition)
    if _RANGE_START in tags:
        start, end = tags[_RANGE_START], tags.get(_RANGE_END, "")
        for key in (start, end):
            partitions.partition(key)
        keys = _keys_in_range(definition, start, end, store=context.instance)
    elif own is not None:
        keys = [partitions.partition(own).key]
    else:
        raise UnknownPartition("", "the run names none; start it for a partition or for a range of them")
    if own is not None and own not in keys and not isinstance(partitions, MultiPartitions):
        raise UnknownPartition(own, f"the run's tags also name the partitions {keys[0]} to {keys[-1]}")
    return keys


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


def _own_key(tags: Mapping[str, str], definition: dg.PartitionsDefinition) -> str | None:
    """The single key that the tags of a run name, whole or by its dimensions; Dagster records the run for that key."""
    key = tags.get(_KEY)
    own = {tag.removeprefix(_DIMENSION): value for tag, value in tags.items() if tag.startswith(_DIMENSION)}
    if not own:
        return key
    if isinstance(definition, dg.MultiPartitionsDefinition) and set(own) != set(definition.partition_dimension_names):
        raise UnknownPartition("|".join(own.values()), f"the run has tags of {', '.join(own)} alone")
    by_dimension = str(dg.MultiPartitionKey(own))
    if key not in (None, by_dimension):
        raise UnknownPartition(by_dimension, f"the run's tag {_KEY} names the partition {key}")
    return by_dimension


def _keys_in_range(
    definition: dg.PartitionsDefinition, start: str, end: str, *, store: dg.DagsterInstance
) -> list[str]:
    """The keys from start to end; of two dimensions all pairs of those of each."""
    if isinstance(definition, dg.MultiPartitionsDefinition):
        first, last = map(definition.get_partition_key_from_str, (start, end))
        names = definition.partition_dimension_names
        of_each = [
            _keys_in_range(
                definition.get_partitions_def_for_dimension(name),
                first.keys_by_dimension[name],
                last.keys_by_dimension[name],
                store=store,
            )
            for name in names
        ]
        return [str(dg.MultiPartitionKey(dict(zip(names, pair, strict=True)))) for pair in itertools.product(*of_each)]
    keys = definition.get_partition_keys(dynamic_partitions_store=store)
    for key in (start, end):
        if key not in keys:
            raise UnknownPartition(key, f"Dagster knows {len(keys)} keys of these partitions, and not this one")
    found = keys[keys.index(start) : keys.index(end) + 1]
    if not found:
        raise UnknownPartition(f"{start}...{end}", "the range's end comes before its start")
    return [str(key) for key in found]


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
