"""Build all of a table's Dagster definitions from its spec."""

import logging
from collections.abc import Sequence

import dagster as dg

from rowledger.contract import check_spec
from rowledger.dagster.assets import table_asset
from rowledger.dagster.broken import broken_table
from rowledger.dagster.checks import verify_check
from rowledger.dagster.jobs import jobs_and_schedule
from rowledger.dagster.partitions import KEY_PATTERN, partition_maker, require_partitions
from rowledger.dagster.replay import replay_job_and_sensor
from rowledger.dagster.resources import DEFAULT_WRITER, GuardedWriter, shared_writer
from rowledger.dagster.table import DagsterTable
from rowledger.errors import RowledgerError
from rowledger.spec import TableSpec

__all__ = ["build_table_defs"]

_log = logging.getLogger("rowledger")


def build_table_defs(
    spec: TableSpec | str,
    *,
    partitions_def: dg.PartitionsDefinition | None = None,
    key: dg.AssetKey | str | Sequence[str] | None = None,
    landing: Sequence[dg.AssetsDefinition] = (),
    writer: GuardedWriter | None = DEFAULT_WRITER,
    dynamic_key_pattern: str = KEY_PATTERN,
) -> dg.Definitions:
    """The asset of one table with its checks, its jobs, the schedule of its partitions, and the sensor of its replays.

    Args:
        spec: the table's spec, or a reference to it, `module:NAME` or `path/file.py:NAME`. With a reference, a mistake in that
            file affects this table alone: its asset and its jobs exist, and fail with file, line and mistake, while other
            tables work.
        partitions_def: any Dagster partitions; the spec's `partition_by` names the columns that hold them. None: the table is
            loaded whole.
        key: the asset's key; by default the table's name.
        landing: assets that write what the table is loaded from. The table depends on them, and its load job also materializes
            those that have the same partitions.
        writer: the resource `writer`, which says how a run writes. A project that defines this resource itself passes the
            same object, or None: Dagster does not merge definitions with two resources of one name.
        dynamic_key_pattern: a regular expression that must match every whole key of dynamic partitions, since keys are part
            of paths.

    Raises SpecError for a spec that contradicts itself or its partitions.

    """
    resources = {} if writer is None else {"writer": shared_writer(writer)}
    try:
        own = _definitions(spec, partitions_def, key, landing, dynamic_key_pattern)
    except (RowledgerError, dg.DagsterError) as error:
        if isinstance(spec, TableSpec):
            raise
        name = spec.rpartition(":")[2].rpartition(".")[2].lower()
        message = " ".join(str(error).split())
        _log.warning("table %s cannot be used: %s", name, message)
        return broken_table(name, _asset_key(key, name), partitions_def, message)
    return dg.Definitions.merge(own, dg.Definitions(resources=resources))


def _definitions(
    spec: TableSpec | str,
    partitions_def: dg.PartitionsDefinition | None,
    key: dg.AssetKey | str | Sequence[str] | None,
    landing: Sequence[dg.AssetsDefinition],
    key_pattern: str,
) -> dg.Definitions:
    spec = TableSpec.from_reference(spec) if isinstance(spec, str) else spec
    check_spec(spec)
    require_partitions(spec, partitions_def, key_pattern=key_pattern)
    partition_of = partition_maker(spec, partitions_def, key_pattern=key_pattern)
    table = DagsterTable(spec, _asset_key(key, spec.name), partitions_def, partition_of, key_pattern)
    own = dg.Definitions(assets=[table_asset(table, landing)], asset_checks=[verify_check(table)])
    return dg.Definitions.merge(own, jobs_and_schedule(table, landing), replay_job_and_sensor(table))


def _asset_key(key: dg.AssetKey | str | Sequence[str] | None, name: str) -> dg.AssetKey:
    return dg.AssetKey(name) if key is None else dg.AssetKey.from_coercible(key)
