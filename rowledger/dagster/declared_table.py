"""A table as its project declares it: options for its asset and its step, and the resources that its definitions bring."""

from typing import Any, cast

import dagster as dg

from rowledger.contract import check_spec
from rowledger.dagster.assets import StepOptions
from rowledger.dagster.database import DEFAULT_DATABASE, RowledgerDatabase
from rowledger.dagster.partitions import partition_maker, require_partitions
from rowledger.dagster.resources import GuardedWriter, resource_key
from rowledger.dagster.table import DagsterTable, name_of
from rowledger.dagster.translator import AssetAttributes, AttributesBesideKey, RowledgerTranslator, asset_spec
from rowledger.errors import SpecError
from rowledger.postgres import by_server
from rowledger.spec import ServersByKey, TableSpec

__all__ = ["OptionsBesideKey", "Resources", "TableOptions", "declared_table", "parted"]

Resources = dict[str, RowledgerDatabase | GuardedWriter]


class TableOptions(AssetAttributes, StepOptions, total=False):
    """Whatever a table's asset and its step can be given."""


class OptionsBesideKey(AttributesBesideKey, StepOptions, total=False):
    """The same without the asset's key."""


def parted(options: TableOptions | OptionsBesideKey) -> tuple[AssetAttributes, StepOptions]:
    """The options for the asset and those for its step; raises TypeError for an unknown one."""
    given: dict[str, Any] = dict(options)
    step: dict[str, Any] = {name: given.pop(name) for name in StepOptions.__optional_keys__ if name in given}
    if unknown := sorted(set(given) - AssetAttributes.__optional_keys__):
        known = sorted(AssetAttributes.__optional_keys__ | StepOptions.__optional_keys__)
        raise TypeError(f"unknown options {', '.join(unknown)}; an asset and its step can be given {', '.join(known)}")
    return cast(AssetAttributes, given), cast(StepOptions, step)


def declared_table(
    spec: TableSpec,
    partitions_def: dg.PartitionsDefinition | None,
    translator: RowledgerTranslator,
    attributes: AssetAttributes,
    database: RowledgerDatabase | str,
    writer: GuardedWriter | str,
    key_pattern: str,
    *,
    shares_defaults: bool = True,
) -> tuple[DagsterTable, Resources]:
    """The table, and the resources that its definitions bring; without `shares_defaults` the defaults have keys of this table.

    Raises SpecError for a spec that contradicts itself or its partitions, UnknownPartition for a key without a server.
    """
    check_spec(spec)
    require_partitions(spec, partitions_def, key_pattern=key_pattern)
    if spec.servers is not None and database is not DEFAULT_DATABASE:
        raise SpecError(f"table {spec.name}: its spec says by servers where each partition is; leave database out")
    known = database.database_name() if isinstance(database, RowledgerDatabase) and spec.servers is None else None
    asset = asset_spec(spec, partitions_def, translator, attributes, known)
    database_key, brought_database = resource_key(database, name_of(asset.key), "database", shared=shares_defaults)
    writer_key, brought_writer = resource_key(writer, name_of(asset.key), "writer", shared=shares_defaults)
    partition_of = partition_maker(spec, partitions_def, key_pattern=key_pattern)
    if isinstance(spec.servers, ServersByKey) and isinstance(partitions_def, dg.StaticPartitionsDefinition):
        by_server(
            spec, [partition_of(key) for key in partitions_def.get_partition_keys()]
        )  # raises for a key without one
    table = DagsterTable(spec, asset, partition_of, key_pattern, database_key, writer_key)
    return table, brought_database | brought_writer
