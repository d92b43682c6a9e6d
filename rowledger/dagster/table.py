"""One table as Dagster knows it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from rowledger.dagster.database import RowledgerDatabase
from rowledger.dagster.resources import GuardedWriter, resource_of
from rowledger.errors import SpecError
from rowledger.postgres import by_server, servers_of
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

    def database_url(self, resources: Any) -> str | None:  # noqa: ANN401 - Dagster makes the class of a step's resources
        """The URL of the target database, with its password; None where the spec names several servers.

        Raises DatabaseUnavailable, EmbeddedServerError or SpecError.
        """
        if self.spec.servers is not None:
            return None
        return resource_of(RowledgerDatabase, resources, self.database_key).connection_url()

    def one_url(self, resources: Any, server: str = "", partitions: Sequence[str] = ()) -> str:  # noqa: ANN401 - as above
        """The URL of the one server that is meant: of a table on several the named one, or that of these partitions.

        Raises SpecError where nothing says which, and what `database_url` does.
        """
        if (url := self.database_url(resources)) is not None:
            return url
        servers = servers_of(self.spec)
        if server:
            found = {each for each in servers if server in each.variables}
        else:
            found = {*by_server(self.spec, [self.partition_of(key) for key in partitions])} or {*servers}
        if len(found) != 1:
            raise SpecError(
                f"table {self.spec.name}: it is on several servers, and this works on one: give as server one of "
                f"{', '.join(each.variable for each in servers)}, or partitions of one"
            )
        return found.pop().url

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
