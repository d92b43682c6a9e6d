"""Jobs and schedule of a table: load new partitions, verify published ones, add a partition's key."""

from collections.abc import Sequence

import dagster as dg

from rowledger.dagster.failures import errors_as_failures
from rowledger.dagster.partitions import dimensions_of, require_key
from rowledger.dagster.private_names import UnresolvedAssetJobDefinition
from rowledger.dagster.table import DagsterTable
from rowledger.dagster.verification import VERIFY_CHECK
from rowledger.errors import SpecError
from rowledger.ledger import CheckName

__all__ = ["jobs_and_schedule"]

# The delay after the end of a window, which gives a source the time to close its books.
HOURS_AFTER = 6
MINUTES_AFTER = 15

_HOUR_MINUTES = 60
_DAY_HOURS = 24


def jobs_and_schedule(
    table: DagsterTable,
    landing: Sequence[dg.AssetsDefinition | dg.AssetKey | str],
    *,
    jobs: bool,
    schedule: bool | str,
) -> dg.Definitions:
    """The job `<table>_load` lands and loads partitions, `<table>_verify` checks published ones; a schedule starts the load.

    The schedule is `<table>_daily`, `_hourly`, `_weekly`, `_monthly` or, for other windows of time, `_by_cron`. A
    table with two dimensions, or with keys that are added while it lives, can have no schedule, since no clock tells
    which of them has new data. `<table>_add_partition` adds such keys. Raises SpecError for a schedule that is not possible.
    """
    spec = table.spec
    in_step_checks = [dg.AssetCheckKey(table.key, name.value) for name in CheckName]
    landed = [
        asset.key if isinstance(asset, dg.AssetsDefinition) else asset
        for asset in landing
        if not isinstance(asset, dg.AssetsDefinition) or asset.partitions_def == table.partitions_def
    ]
    load = dg.define_asset_job(
        f"{table.name}_load",
        # Without the check that reads the published rows again, because the load has just confirmed itself.
        selection=dg.AssetSelection.assets(table.key, *landed).without_checks()
        | dg.AssetSelection.checks(*in_step_checks),
        description=f"Land and load partitions of {spec.target}.",
    )
    verify = dg.define_asset_job(
        f"{table.name}_verify",
        selection=dg.AssetSelection.checks(dg.AssetCheckKey(table.key, VERIFY_CHECK)),
        description=f"Compare all published rows of {spec.target} with the ledger; red if they differ.",
    )
    schedules = [_schedule(table, load, None if schedule is True else schedule)] if schedule else []
    return dg.Definitions(
        jobs=[load, verify, *_adding(table)] if jobs else [load] if schedules else [], schedules=schedules
    )


def _schedule(table: DagsterTable, load: UnresolvedAssetJobDefinition, cron: str | None) -> dg.ScheduleDefinition:
    """The schedule, by the given cron schedule or else some hours after new data is there."""
    # Off until the operator turns it on: a new table must not load unasked.
    status = dg.DefaultScheduleStatus.STOPPED
    name = table.name
    name_of_day = f"{name}_daily" if cron is None else f"{name}_by_cron"
    daily = cron or f"0 {HOURS_AFTER} * * *"
    match table.partitions_def:
        case None:
            return dg.ScheduleDefinition(name=name_of_day, job=load, cron_schedule=daily, default_status=status)
        case dg.TimeWindowPartitionsDefinition() as windows:
            cron = cron or _some_time_after(windows)
            return _schedule_of_windows(f"{name}_{_rhythm(windows)}", load, windows, cron, status)
        case dg.StaticPartitionsDefinition() as static:
            return _schedule_of_all(name_of_day, load, static, daily, status)
        case _:
            raise SpecError(
                f"table {table.spec.name}: a schedule does not go with partitions of two dimensions or with dynamic ones, "
                "since no clock tells which of them has new data; leave it out and start the runs by a sensor of your own"
            )


def _schedule_of_windows(
    name: str,
    load: UnresolvedAssetJobDefinition,
    windows: dg.TimeWindowPartitionsDefinition,
    cron_schedule: str,
    status: dg.DefaultScheduleStatus,
) -> dg.ScheduleDefinition:
    """One run for the last window that has ended. Dagster's own partition schedules tick at its end where it follows a cron."""

    @dg.schedule(
        name=name,
        job=load,
        cron_schedule=cron_schedule,
        execution_timezone=windows.timezone,
        default_status=status,
    )
    def latest_window(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        window = windows.get_prev_partition_window(context.scheduled_execution_time, respect_bounds=False)
        for _ in range(abs(windows.end_offset)):
            if window is not None and windows.end_offset > 0:
                window = windows.get_next_partition_window(window.end, respect_bounds=False)
            elif window is not None:
                window = windows.get_prev_partition_window(window.start, respect_bounds=False)
        if window is None or window.start < windows.start or (windows.end is not None and window.end > windows.end):
            return dg.SkipReason("no window of these partitions has just ended")
        (key,) = windows.get_partition_keys_in_time_window(window)
        return dg.RunRequest(run_key=key, partition_key=key)

    return latest_window


def _rhythm(windows: dg.TimeWindowPartitionsDefinition) -> str:
    return "by_cron" if windows.schedule_type is None else windows.schedule_type.value.lower()


def _some_time_after(windows: dg.TimeWindowPartitionsDefinition) -> str:
    """The cadence of the windows some hours or minutes later."""
    match _rhythm(windows):
        case "by_cron":
            return _minutes_later(windows.cron_schedule)
        case "hourly":
            return windows.get_cron_schedule(minute_of_hour=(windows.minute_offset + MINUTES_AFTER) % _HOUR_MINUTES)
        case "daily":
            return windows.get_cron_schedule(hour_of_day=(windows.hour_offset + HOURS_AFTER) % _DAY_HOURS)
        case _:  # on the day on which the window ends
            return windows.get_cron_schedule(hour_of_day=min(windows.hour_offset + HOURS_AFTER, _DAY_HOURS - 1))


def _minutes_later(cron_schedule: str) -> str:
    """A quarter of an hour later where the minute is one number, else a third of the step."""
    minutes, _, rest = cron_schedule.partition(" ")
    if minutes.isdecimal() and int(minutes) + MINUTES_AFTER < _HOUR_MINUTES:
        return f"{int(minutes) + MINUTES_AFTER} {rest}"
    if (step := minutes.removeprefix("*/")).isdecimal() and int(step) // 3:
        return f"{int(step) // 3}-59/{step} {rest}"
    return cron_schedule


def _schedule_of_all(
    name: str,
    load: UnresolvedAssetJobDefinition,
    static: dg.StaticPartitionsDefinition,
    cron_schedule: str,
    status: dg.DefaultScheduleStatus,
) -> dg.ScheduleDefinition:
    """One run for each key, every day."""

    @dg.schedule(name=name, job=load, cron_schedule=cron_schedule, default_status=status)
    def every_key(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        tick = context.scheduled_execution_time.date().isoformat()
        return [dg.RunRequest(run_key=f"{tick} {key}", partition_key=key) for key in static.get_partition_keys()]

    return every_key


class NewKeys(dg.Config):
    """The config of the job that adds partitions."""

    keys: list[str]


def _add_partition(table: DagsterTable, name: str, dynamic: dg.DynamicPartitionsDefinition) -> dg.JobDefinition:
    """The job that adds new keys, from the launchpad or by `dagster job execute`. A key that exists stays."""
    spec = table.spec

    @dg.op(name=f"{name}_keys".replace("_add_partition_keys", "_add_keys"))
    def add(context: dg.OpExecutionContext, config: NewKeys) -> None:
        with errors_as_failures(spec.name):
            for key in config.keys:
                require_key(dynamic, key, key_pattern=table.dynamic_key_pattern)
        context.instance.add_dynamic_partitions(str(dynamic.name), config.keys)

    @dg.job(name=name, description=f"Add keys to the partitions {dynamic.name} of {spec.target}.")
    def add_partition() -> None:
        add()

    return add_partition


def _adding(table: DagsterTable) -> list[dg.JobDefinition]:
    """A job for the keys that are added while the table lives; two jobs where both dimensions have such keys."""
    if table.partitions_def is None:
        return []
    dynamic = {
        dimension: definition
        for dimension, definition in dimensions_of(table.partitions_def).items()
        if isinstance(definition, dg.DynamicPartitionsDefinition) and definition.name
    }
    return [
        _add_partition(table, f"{table.name}_add_{dimension if len(dynamic) > 1 else 'partition'}", definition)
        for dimension, definition in dynamic.items()
    ]
