"""The partitions of a spec, as Dagster knows them."""

from datetime import timedelta

import dagster as dg

from pipeline.errors import SpecError
from pipeline.model.partition import DailyPartitions, Partitions, Unpartitioned

__all__ = ["partition_keys", "partitions_definition"]


def partitions_definition(partitions: Partitions) -> dg.PartitionsDefinition | None:
    """Dagster's counterpart with the very same keys; None for a table that is loaded whole."""
    match partitions:
        case Unpartitioned():
            return None
        case DailyPartitions(start=start, end=end, timezone=timezone):
            after = (end + timedelta(days=1)).isoformat() if end else None
            return dg.DailyPartitionsDefinition(start_date=start.isoformat(), end_date=after, timezone=timezone)
        case _:
            raise SpecError(f"partitions of kind {type(partitions).__name__} have no counterpart in Dagster yet")


def partition_keys(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, partitions: Partitions
) -> list[str]:
    """The keys this run is about."""
    return ["all"] if isinstance(partitions, Unpartitioned) else list(context.partition_keys)
