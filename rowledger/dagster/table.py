"""One table as Dagster knows it."""

from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg

from rowledger.spec import Partition, TableSpec

__all__ = ["DagsterTable"]


@dataclass(frozen=True, slots=True)
class DagsterTable:
    """A table's spec, the key of its asset, and the asset's partitions.

    `partition_of` makes the partition of a key. Keys that are added while the table lives must match
    `dynamic_key_pattern`.
    """

    spec: TableSpec
    key: dg.AssetKey
    partitions_def: dg.PartitionsDefinition | None
    partition_of: Callable[[str], Partition]
    dynamic_key_pattern: str

    @property
    def is_whole(self) -> bool:
        """Whether the table is loaded whole."""
        return self.partitions_def is None
