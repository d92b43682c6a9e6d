"""Jobs and schedule of a table: load it every day, and verify on demand what is published."""

from collections.abc import Sequence

import dagster as dg

from pipeline.defs.checks import VERIFY_CHECK
from pipeline.defs.partitions import partitions_definition
from pipeline.model.report import CheckName
from pipeline.model.table import TableSpec

__all__ = ["jobs_and_schedule"]

HOUR_OF_DAY = 6  # in the partitions' own zone; late enough for a source that closes its day at midnight


def jobs_and_schedule(spec: TableSpec, landing: Sequence[dg.AssetsDefinition]) -> dg.Definitions:
    """`<table>_load` lands and loads partitions, `<table>_daily` starts it, `<table>_verify` checks what is published."""
    table = dg.AssetKey(spec.name)
    in_step_checks = [dg.AssetCheckKey(table, name.value) for name in CheckName]
    load = dg.define_asset_job(
        f"{spec.name}_load",
        # Without verification on demand: the load has just confirmed itself.
        selection=dg.AssetSelection.assets(table, *_landing_keys(spec, landing)).without_checks()
        | dg.AssetSelection.checks(*in_step_checks),
        description=f"Land and load partitions of {spec.target}.",
    )
    verify = dg.define_asset_job(
        f"{spec.name}_verify",
        selection=dg.AssetSelection.checks(dg.AssetCheckKey(table, VERIFY_CHECK)),
        description=f"Compare all published rows of {spec.target} with the ledger; red if they differ.",
    )
    name = f"{spec.name}_daily"
    # Off until somebody turns it on: a new table shall not load unasked, and one whose days have an end needs no schedule.
    status = dg.DefaultScheduleStatus.STOPPED
    if partitions_definition(spec.partitions) is None:
        cron = f"0 {HOUR_OF_DAY} * * *"
        daily = dg.ScheduleDefinition(name=name, job=load, cron_schedule=cron, default_status=status)
        return dg.Definitions(jobs=[load, verify], schedules=[daily])
    partitioned = dg.build_schedule_from_partitioned_job(
        load, name=name, hour_of_day=HOUR_OF_DAY, default_status=status
    )
    return dg.Definitions(jobs=[load, verify], schedules=[partitioned])


def _landing_keys(spec: TableSpec, landing: Sequence[dg.AssetsDefinition]) -> list[dg.AssetKey]:
    """The landing assets of this table that one run can materialize along with it, being divided in the same way."""
    partitions_def = partitions_definition(spec.partitions)
    upstream = {dg.AssetKey(name) for name in spec.upstream}
    return [asset.key for asset in landing if asset.key in upstream and asset.partitions_def == partitions_def]
