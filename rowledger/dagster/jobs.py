"""Jobs and schedule of a table: load it as its partitions come, verify on demand what is published, add a partition's key."""

from collections.abc import Sequence

import dagster as dg

from rowledger.dagster.checks import VERIFY_CHECK
from rowledger.dagster.partitions import partitions_definition
from rowledger.dagster.private_names import UnresolvedAssetJobDefinition, UnresolvedPartitionedAssetScheduleDefinition
from rowledger.errors import UnknownPartition
from rowledger.ledger import CheckName
from rowledger.spec import (
    DynamicPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    MultiPartitions,
    Partitions,
    StaticPartitions,
    TableSpec,
    TimeWindowPartitions,
    WeeklyPartitions,
)

__all__ = ["jobs_and_schedule"]

HOUR_OF_DAY = 6  # in the partitions' own zone; late enough for a source that closes its day at midnight
MINUTE_OF_HOUR = 15  # the same for one that closes its hour


def jobs_and_schedule(spec: TableSpec, landing: Sequence[dg.AssetsDefinition]) -> dg.Definitions:
    """`<table>_load` lands and loads partitions, `<table>_verify` checks what is published; a schedule starts the former.

    The schedule is `<table>_daily`, `_hourly`, `_weekly` or `_monthly`, as the partitions are. Where two dimensions divide the
    table, or keys are added by hand, there is none: nobody knows when which of them has something new. For such keys there is
    `<table>_add_partition`.
    """
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
    adding = [_add_partition(spec, dynamic) for dynamic in _dynamic(spec.partitions)]
    return dg.Definitions(jobs=[load, verify, *adding], schedules=_schedules(spec, load))


def _schedules(
    spec: TableSpec, load: UnresolvedAssetJobDefinition
) -> list[dg.ScheduleDefinition | UnresolvedPartitionedAssetScheduleDefinition]:
    # Off until somebody turns it on: a new table shall not load unasked, and one whose days have an end needs no schedule.
    status = dg.DefaultScheduleStatus.STOPPED
    name = f"{spec.name}_{_rhythm(spec.partitions)}"
    match spec.partitions:
        case MultiPartitions() | DynamicPartitions():
            return []
        case StaticPartitions() as static:
            return [_schedule_of_all(name, load, static, status)]
        case HourlyPartitions():
            minute = MINUTE_OF_HOUR
            return [
                dg.build_schedule_from_partitioned_job(load, name=name, minute_of_hour=minute, default_status=status)
            ]
        case TimeWindowPartitions():
            hour = HOUR_OF_DAY
            return [dg.build_schedule_from_partitioned_job(load, name=name, hour_of_day=hour, default_status=status)]
        case _:
            cron = f"0 {HOUR_OF_DAY} * * *"
            return [dg.ScheduleDefinition(name=name, job=load, cron_schedule=cron, default_status=status)]


def _schedule_of_all(
    name: str, load: UnresolvedAssetJobDefinition, static: StaticPartitions, status: dg.DefaultScheduleStatus
) -> dg.ScheduleDefinition:
    """A run a key, every day."""

    @dg.schedule(name=name, job=load, cron_schedule=f"0 {HOUR_OF_DAY} * * *", default_status=status)
    def every_key(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        tick = context.scheduled_execution_time.date().isoformat()
        return [dg.RunRequest(run_key=f"{tick} {key}", partition_key=key) for key in static.keys()]  # noqa: SIM118 - a method

    return every_key


def _rhythm(partitions: Partitions) -> str:
    match partitions:
        case HourlyPartitions():
            return "hourly"
        case WeeklyPartitions():
            return "weekly"
        case MonthlyPartitions():
            return "monthly"
        case _:
            return "daily"


class NewKeys(dg.Config):
    """What the job that adds partitions asks for."""

    keys: list[str]


def _add_partition(spec: TableSpec, dynamic: DynamicPartitions) -> dg.JobDefinition:
    """Tells Dagster of new keys, from the launchpad or from `dagster job execute`; a key that is there stays."""

    @dg.op(name=f"{spec.name}_add_keys")
    def add(context: dg.OpExecutionContext, config: NewKeys) -> None:
        try:
            keys = [dynamic.partition(key).key for key in config.keys]
        except UnknownPartition as error:
            raise dg.Failure(f"{spec.name}: {error}", allow_retries=False) from None
        context.instance.add_dynamic_partitions(dynamic.name, keys)

    @dg.job(
        name=f"{spec.name}_add_partition", description=f"Add keys to the partitions {dynamic.name} of {spec.target}."
    )
    def add_partition() -> None:
        add()

    return add_partition


def _dynamic(partitions: Partitions) -> list[DynamicPartitions]:
    match partitions:
        case DynamicPartitions():
            return [partitions]
        case MultiPartitions(dimensions=dimensions):
            return [dimension for dimension in dimensions.values() if isinstance(dimension, DynamicPartitions)]
        case _:
            return []


def _landing_keys(spec: TableSpec, landing: Sequence[dg.AssetsDefinition]) -> list[dg.AssetKey]:
    """The landing assets of this table that one run can materialize along with it, being divided in the same way."""
    partitions_def = partitions_definition(spec.partitions)
    upstream = {dg.AssetKey(name) for name in spec.upstream}
    return [asset.key for asset in landing if asset.key in upstream and asset.partitions_def == partitions_def]
