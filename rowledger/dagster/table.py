"""One table as Dagster knows it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster as dg

from rowledger.dagster.database import RowledgerDatabase
from rowledger.dagster.resources import GuardedWriter, resource_of
from rowledger.spec import Partition, TableSpec

__all__ = ["DagsterTable", "name_of"]


@dataclass(frozen=True, slots=True)
class DagsterTable:
    """A table's spec, its asset, and the keys of the resources that its steps ask for.

    `partition_of` makes the partition of a key. Keys that are added while the table lives must match
    `dynamic_key_pattern`.
    """

    spec: TableSpec
    asset: dg.AssetSpec
    partition_of: Callable[[str], Partition]
    dynamic_key_pattern: str
    database_key: str
    writer_key: str

    @property
    def key(self) -> dg.AssetKey:
        return self.asset.key

    @property
    def partitions_def(self) -> dg.PartitionsDefinition | None:
        return self.asset.partitions_def

    @property
    def name(self) -> str:
        """The beginning of the names of the table's ops, jobs, schedules and sensors."""
        return name_of(self.asset.key)

    @property
    def resource_keys(self) -> set[str]:
        """The resources that a step needs which loads or replays."""
        return {self.database_key, self.writer_key}

    def database_url(self, resources: Any) -> str:  # noqa: ANN401 - Dagster makes the class of a step's resources
        """The URL of the target database, with its password; raises DatabaseUnavailable, EmbeddedServerError or SpecError."""
        return resource_of(RowledgerDatabase, resources, self.database_key).connection_url()

    def writer(self, resources: Any) -> GuardedWriter:  # noqa: ANN401 - as above
        """How this run writes; raises SpecError for a resource of another kind."""
        return resource_of(GuardedWriter, resources, self.writer_key)

    @property
    def is_whole(self) -> bool:
        """Whether the table is loaded whole."""
        return self.partitions_def is None


def name_of(key: dg.AssetKey) -> str:
    """The asset's key as a name that an op or a job may have, joined as Dagster joins it."""
    return re.sub(r"\W", "_", "__".join(key.path), flags=re.ASCII)
