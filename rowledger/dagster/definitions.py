"""Build all of a table's Dagster definitions from its spec."""

import logging
import warnings
from collections.abc import Sequence
from typing import Unpack

import dagster as dg

from rowledger.dagster.assets import table_asset
from rowledger.dagster.broken import broken_table
from rowledger.dagster.database import DEFAULT_DATABASE, RowledgerDatabase
from rowledger.dagster.declared_table import Resources, TableOptions, declared_table, parted
from rowledger.dagster.jobs import jobs_and_schedule
from rowledger.dagster.partitions import KEY_PATTERN
from rowledger.dagster.replay import replay_job_and_sensor
from rowledger.dagster.resources import DEFAULT_WRITER, GuardedWriter
from rowledger.dagster.returned_rows import returned_table
from rowledger.dagster.table import DagsterTable
from rowledger.dagster.translator import RowledgerTranslator
from rowledger.dagster.verification import verify_check
from rowledger.errors import RowledgerError, SpecError
from rowledger.spec import TableSpec

__all__ = ["build_table_defs"]

_log = logging.getLogger("rowledger")


def build_table_defs(
    spec: TableSpec | str | dg.AssetsDefinition,
    *,
    partitions_def: dg.PartitionsDefinition | None = None,
    translator: RowledgerTranslator | None = None,
    landing: Sequence[dg.AssetsDefinition | dg.AssetKey | str] = (),
    database: RowledgerDatabase | str = DEFAULT_DATABASE,
    writer: GuardedWriter | str = DEFAULT_WRITER,
    jobs: bool = False,
    schedule: bool | str = False,
    sensor: bool = False,
    freshness: str | None = None,
    dynamic_key_pattern: str = KEY_PATTERN,
    **options: Unpack[TableOptions],
) -> dg.Definitions:
    """The asset of one table with its checks and, on request, its jobs, the schedule of its partitions, and a sensor.

    Args:
        spec: the table's spec, or a reference to it, `module:NAME` or `path/file.py:NAME`. With a reference, a mistake in that
            file affects this table alone: its asset and its jobs exist, and fail with file, line and mistake, while other
            tables work. Or an asset that `rowledger_asset` has made: it comes with what is asked for here.
        partitions_def: any Dagster partitions; the spec's `partition_by` names the columns that hold them. None: the table is
            loaded whole.
        translator: makes the asset's key, group, owners and so on from the spec, for a family of tables.
        landing: assets that write what the table is loaded from, or their keys. The table depends on them, and its load job
            also materializes those that have the same partitions; those that are given by key have them, or none.
        database: the database that holds the table, or the key of a resource that the project defines. By default the one in
            ROWLEDGER_DATABASE_URL, or else the embedded server.
        writer: how a run writes, or the key of a resource that the project defines.
        jobs: the jobs `<table>_load`, `<table>_verify`, `<table>_replay` and, for dynamic partitions, `<table>_add_partition`.
        schedule: a schedule of the load. True: some hours after a window of time has ended, or once a day; or a cron schedule.
            It is off until it is turned on in Dagster.
        sensor: `<table>_corrected`, which replays dead letters that were marked as corrected. It is off at first, too.
        freshness: a cron schedule: by each of its ticks the latest window of time must have been loaded. This adds a check.
        dynamic_key_pattern: a regular expression that must match every whole key of dynamic partitions, since keys are part
            of paths.
        options: for the asset `key`, `key_prefix`, `group_name`, `owners`, `tags`, `kinds`, `deps`, `code_version`,
            `description`, `metadata`, `automation_condition` and `freshness_policy`, which come on top of the translator's;
            for its step `pool`, `retry_policy`, `backfill_policy` and `op_tags`.

    Raises SpecError for a spec that contradicts itself or its partitions, and TypeError for an unknown option.

    """

    def complete(asset: dg.AssetsDefinition, table: DagsterTable, resources: Resources) -> dg.Definitions:
        """The asset with what its table has besides."""
        own = [
            dg.Definitions(assets=[asset], resources=resources),
            dg.Definitions(asset_checks=[verify_check(table), *_freshness_checks(table, freshness)]),
            jobs_and_schedule(table, landing, jobs=jobs, schedule=schedule),
        ]
        if jobs or sensor:
            own.append(replay_job_and_sensor(table, sensor=sensor, pool=asset.op.pool))
        return dg.Definitions.merge(*own)

    if isinstance(spec, dg.AssetsDefinition):
        if options or not (
            partitions_def is None and translator is None and database is DEFAULT_DATABASE and writer is DEFAULT_WRITER
        ):
            raise TypeError(
                "give rowledger_asset whatever its asset has; jobs, schedule, sensor and freshness are given here"
            )
        if (returned := returned_table(spec)) is None:
            raise TypeError(f"{spec.node_def.name} was not made by rowledger_asset")
        return complete(returned.asset, returned.table, returned.resources)
    attributes, step = parted(options)
    attributes["deps"] = [*(attributes.get("deps") or ()), *landing]
    translator = translator or RowledgerTranslator()
    try:
        known = TableSpec.from_reference(spec) if isinstance(spec, str) else spec
        table, resources = declared_table(
            known, partitions_def, translator, attributes, database, writer, dynamic_key_pattern
        )
        return complete(table_asset(table, step), table, resources)
    except (RowledgerError, dg.DagsterError) as error:
        if isinstance(spec, TableSpec):
            raise
        name = spec.rpartition(":")[2].rpartition(".")[2].lower()
        message = " ".join(str(error).split())
        _log.warning("table %s cannot be used: %s", name, message)
        wanted = {"load": jobs or bool(schedule), "verify": jobs, "replay": jobs or sensor}
        purposes = [purpose for purpose, is_wanted in wanted.items() if is_wanted]
        return broken_table(name, partitions_def, attributes, message, purposes=purposes)


def _freshness_checks(table: DagsterTable, deadline_cron: str | None) -> Sequence[dg.AssetChecksDefinition]:
    """The check of the latest window; a FreshnessPolicy would take an old window that was loaded again for a new one."""
    if deadline_cron is None:
        return []
    if not isinstance(table.partitions_def, dg.TimeWindowPartitionsDefinition):
        raise SpecError(f"table {table.spec.name}: freshness needs windows of time; give the asset a freshness_policy")
    with warnings.catch_warnings(category=dg.SupersessionWarning, action="ignore"):
        return dg.build_time_partition_freshness_checks(
            assets=[table.key], deadline_cron=deadline_cron, timezone=table.partitions_def.timezone
        )
