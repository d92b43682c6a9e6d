"""One table as Dagster knows it."""

from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg

from rowledger.spec import Partition, TableSpec

__all__ = ["DagsterTable"]


@dataclass(frozen=True, slots=True)
class DagsterTable:
    """A table's spec, the key of its asset, and the partitions of that.

    `partition_of` makes the partition of a key. A key that is added while the table lives matches `dynamic_key_pattern`.
    """

    spec: TableSpec
    key: dg.AssetKey
    partitions_def: dg.PartitionsDefinition | None
    partition_of: Callable[[str], Partition]
    dynamic_key_pattern: str

    @property
    def is_whole(self) -> bool:
        """Whether it is loaded whole."""
        return self.partitions_def is None
