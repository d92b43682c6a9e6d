"""Each kind of partitions as Dagster sees it: keys, jobs, schedules, and what a run of one key loads."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from pipeline_tests.support.assertions import source_rows, table_rows
from pipeline_tests.support.definitions import PARTITIONS, RESOURCES, dagster_table, table_defs
from pipeline_tests.support.loading import load, load_one
from pipeline_tests.support.played_loads import play_loads
from pipeline_tests.support.tables_of_write_modes import (
    BY_DAY_AND_REGION,
    BY_NEW_REGION,
    BY_REGION,
    DAY,
    MONTHLY,
    NEXT_DAY,
    TICKS,
    WEEKLY,
    WHOLE_APPENDED,
    sales,
    write_sales,
    write_ticks,
)
from rowledger.dagster.assets import table_asset
from rowledger.dagster.verification import VERIFY_CHECK, verify_check
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.reports import Check, CheckName, PartitionReport
from rowledger.publish.verify import run_verify
from rowledger.spec.partition import Partition
from rowledger.spec.table import TableSpec

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        yield instance


def definitions(spec: TableSpec) -> dg.RepositoryDefinition:
    found = table_defs(spec).get_repository_def()
    assert isinstance(found, dg.RepositoryDefinition)
    return found


@pytest.mark.parametrize(
    ("spec", "jobs", "schedules"),
    [
        (BY_REGION, {"by_region_load", "by_region_verify"}, {"by_region_daily": "0 6 * * *"}),
        (BY_DAY_AND_REGION, {"by_day_and_region_load", "by_day_and_region_verify"}, {}),
        (BY_NEW_REGION, {"by_new_region_load", "by_new_region_verify", "by_new_region_add_partition"}, {}),
        (TICKS, {"ticks_load", "ticks_verify"}, {"ticks_hourly": "15 * * * *"}),
        (WEEKLY, {"weekly_load", "weekly_verify"}, {"weekly_weekly": "0 6 * * 1"}),
        (MONTHLY, {"monthly_load", "monthly_verify"}, {"monthly_monthly": "0 6 1 * *"}),
        (WHOLE_APPENDED, {"whole_appended_load", "whole_appended_verify"}, {"whole_appended_daily": "0 6 * * *"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_table_gets_the_jobs_and_the_schedule_that_its_partitions_call_for(
    spec: TableSpec, jobs: set[str], schedules: dict[str, str]
) -> None:
    found = definitions(spec)

    assert {job.name for job in found.get_all_jobs()} - {"__ASSET_JOB", f"{spec.name}_replay"} == jobs
    assert {schedule.name: schedule.cron_schedule for schedule in found.schedule_defs} == schedules
    assert {schedule.default_status for schedule in found.schedule_defs} <= {dg.DefaultScheduleStatus.STOPPED}


def test_the_schedule_of_static_keys_starts_a_run_a_key(instance: dg.DagsterInstance) -> None:
    found = definitions(BY_REGION)
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=datetime(2024, 3, 1, 6, tzinfo=UTC), repository_def=found
    )
    tick = found.get_schedule_def("by_region_daily").evaluate_tick(context)

    assert tick.run_requests is not None
    assert [(request.run_key, request.partition_key) for request in tick.run_requests] == [
        ("2024-03-01 north", "north"),
        ("2024-03-01 south", "south"),
    ]


def _materialize(spec: TableSpec, instance: dg.DagsterInstance, key: str) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [table_asset(dagster_table(spec))],
        instance=instance,
        resources=RESOURCES,
        partition_key=key,
        raise_on_error=False,
    )


def test_a_new_key_is_added_by_a_job_and_then_loaded(
    database: str, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rowledger.dagster.database.target_url", lambda: database)
    add = definitions(BY_NEW_REGION).get_job("by_new_region_add_partition")

    def config(*keys: str) -> dict[str, object]:
        return {"ops": {"by_new_region_add_keys": {"config": {"keys": list(keys)}}}}

    assert add.execute_in_process(run_config=config("west", "east"), instance=instance).success
    assert add.execute_in_process(run_config=config("west"), instance=instance).success
    refused = add.execute_in_process(run_config=config("../etc"), instance=instance, raise_on_error=False)
    assert not refused.success
    assert set(instance.get_dynamic_partitions("regions")) == {"west", "east"}

    rows = sales(range(9), region="west")
    write_sales(tmp_path / "home" / "landing", "west", rows)
    assert _materialize(BY_NEW_REGION, instance, "west").success
    assert table_rows(database, BY_NEW_REGION) == source_rows(rows)


def test_a_run_of_a_key_of_two_dimensions_loads_what_belongs_to_both(
    database: str, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rowledger.dagster.database.target_url", lambda: database)
    landing = tmp_path / "home" / "landing"
    loaded = []
    for key, rows in (
        (f"{DAY}|north", sales(range(6), DAY, region="north")),
        (f"{DAY}|south", sales(range(7), DAY, region="south")),
        (f"{NEXT_DAY}|north", sales(range(8), NEXT_DAY, region="north")),
        (f"{DAY}|north", sales(range(3), DAY, region="north")),  # takes the place of the first
    ):
        strangers = [*sales([90], NEXT_DAY, region="south"), *sales([91], DAY, region="east")]
        day, region = key.split("|")
        write_sales(landing, f"{region}/{day}", [*rows, *(strangers if key == f"{NEXT_DAY}|north" else [])])
        result = _materialize(BY_DAY_AND_REGION, instance, key)
        assert result.success
        event = next(event for event in result.all_events if event.is_step_materialization)
        assert event.partition == key
        loaded.append(rows)
    assert table_rows(database, BY_DAY_AND_REGION) == source_rows([row for rows in loaded[1:] for row in rows])
    assert {check.passed for check in run_verify(BY_DAY_AND_REGION, url=database)} == {True}


def _tags(record: dg.EventLogRecord) -> Mapping[str, str]:
    assert record.asset_materialization is not None
    return record.asset_materialization.tags or {}


def test_a_backfill_of_two_dimensions_from_a_job_loads_every_key_of_its_range(
    database: str, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rowledger.dagster.database.target_url", lambda: database)
    keys = [f"{day}|{region}" for day in (DAY, NEXT_DAY) for region in ("north", "south")]
    rows = {key: sales(range(3 + number), key[:10], region=key[11:]) for number, key in enumerate(keys)}
    for key in keys:
        write_sales(tmp_path / "home" / "landing", f"{key[11:]}/{key[:10]}", rows[key])
    spec = BY_DAY_AND_REGION

    def run(start: str, end: str) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [table_asset(dagster_table(spec)), verify_check(dagster_table(spec))],
            instance=instance,
            resources=RESOURCES,
            tags={
                "dagster/asset_partition_range_start": start,
                "dagster/asset_partition_range_end": end,
                # The first key's dimensions stay behind where such a backfill strips its key.
                "dagster/partition/day": start[:10],
                "dagster/partition/region": start[11:],
            },
            raise_on_error=False,
        )

    result = run(keys[0], keys[-1])

    assert result.success
    assert table_rows(database, spec) == source_rows([row for of_key in rows.values() for row in of_key])
    assert set(instance.get_materialized_partitions(dg.AssetKey(spec.name))) == set(keys)
    verified = [found for found in result.get_asset_check_evaluations() if found.check_name == VERIFY_CHECK]
    assert [(found.partition, found.passed) for found in verified] == [(key, True) for key in keys]

    (tmp_path / "home" / "landing" / "sales" / f"{keys[1][11:]}/{keys[1][:10]}.parquet").unlink()
    result = run(keys[0], keys[-1])
    assert not result.success
    records = instance.fetch_materializations(dg.AssetKey(spec.name), limit=len(keys) - 1).records
    assert {record.run_id for record in records} == {result.run_id}
    assert {record.partition_key for record in records} == set(keys) - {keys[1]}
    dimensions = {(tags["dagster/partition/day"], tags["dagster/partition/region"]) for tags in map(_tags, records)}
    assert dimensions == {tuple(key.split("|")) for key in keys if key != keys[1]}


_START, _END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_HOURS = PARTITIONS[TICKS.name].get_partition_keys()
_NOT_A_DATE = "2024-03-19"  # of a week


@pytest.fixture
def loaded_keys(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that a run would load; each is published in the place of the load."""
    keys: list[str] = []

    def played(spec: TableSpec, partitions: Sequence[Partition], **_rest: object) -> list[PartitionReport]:
        partition_keys = [partition.key for partition in partitions]
        keys.extend(partition_keys)
        checks = tuple(Check(name, passed=True, summary="fine") for name in CheckName)
        counts = {"counts": RowCounts(enqueued_rows=1, written_rows=1), "chunks": 1, "retries": 0}
        more = {"seconds": 0.1, "peak_rss_bytes": 1, "resumed": False, "checks": checks, "incidents": (), "error": None}
        return [
            PartitionReport(table=spec.name, partition_key=key, load_id=1, **counts, **more) for key in partition_keys
        ]

    play_loads(monkeypatch, played)
    return keys


def _run_with(instance: dg.DagsterInstance, spec: TableSpec, tags: Mapping[str, str]) -> dg.ExecuteInProcessResult:
    instance.add_dynamic_partitions("regions", ["west", "east"])
    return dg.materialize(
        [table_asset(dagster_table(spec))],
        instance=instance,
        resources=RESOURCES,
        tags=tags,
        raise_on_error=False,
    )


@pytest.mark.parametrize(
    ("spec", "tags", "keys"),
    [
        (TICKS, {_START: _HOURS[0], _END: _HOURS[4]}, _HOURS[:5]),
        (WEEKLY, {_START: "2024-03-04", _END: "2024-03-18"}, ["2024-03-04", "2024-03-11", "2024-03-18"]),
        (MONTHLY, {_START: "2024-01-01", _END: "2024-02-01"}, ["2024-01-01", "2024-02-01"]),
        (BY_REGION, {_START: "north", _END: "south"}, ["north", "south"]),
        (BY_NEW_REGION, {_START: "west", _END: "east"}, ["west", "east"]),
        # Of a backfill from a job's page each run has the dimensions of the first run's first key.
        (
            BY_DAY_AND_REGION,
            {
                _START: f"{NEXT_DAY}|north",
                _END: f"{NEXT_DAY}|south",
                "dagster/partition/day": DAY,
                "dagster/partition/region": "north",
            },
            [f"{NEXT_DAY}|north", f"{NEXT_DAY}|south"],
        ),
        # A tag of one's own that looks like a dimension's.
        (
            WEEKLY,
            {_START: "2024-03-04", _END: "2024-03-11", "dagster/partition/x": "2024-03-11"},
            ["2024-03-04", "2024-03-11"],
        ),
    ],
    ids=["hours", "weeks", "months", "static", "dynamic", "tags of another run", "a tag of a dimension"],
)
def test_a_run_over_a_range_loads_every_key_of_it(
    instance: dg.DagsterInstance, loaded_keys: list[str], spec: TableSpec, tags: dict[str, str], keys: Sequence[str]
) -> None:
    assert _run_with(instance, spec, tags).success
    assert loaded_keys == list(keys)
    assert set(instance.get_materialized_partitions(dg.AssetKey(spec.name))) == set(keys)


@pytest.mark.parametrize(
    ("spec", "tags", "reason"),
    [
        (TICKS, {_START: _HOURS[3], _END: _HOURS[0]}, "the range's end comes before its start"),
        (BY_REGION, {_START: "south", _END: "north"}, "the range's end comes before its start"),
        (
            BY_DAY_AND_REGION,
            {_START: f"{DAY}|south", _END: f"{NEXT_DAY}|north"},
            "the range's end comes before its start",
        ),
        (WEEKLY, {_START: "2024-03-04", _END: _NOT_A_DATE}, "weekly keys run from 2024-03-04 to 2024-03-25"),
        (WEEKLY, {"dagster/partition": _NOT_A_DATE}, "weekly keys run from 2024-03-04 to 2024-03-25"),
        (BY_DAY_AND_REGION, {"dagster/partition/day": DAY}, "the run has tags of day alone"),
        (
            BY_DAY_AND_REGION,
            {
                "dagster/partition": f"{DAY}|north",
                "dagster/partition/day": NEXT_DAY,
                "dagster/partition/region": "north",
            },
            f"the run's tag dagster/partition names the partition {DAY}|north",
        ),
        (
            WEEKLY,
            {_START: "2024-03-04", _END: "2024-03-11", "dagster/partition/x": "2024-03-18"},
            "the run's tags also name the partitions 2024-03-04 to 2024-03-11",
        ),
    ],
    ids=[
        "backwards",
        "backwards static",
        "backwards in one",
        "no week",
        "one of no week",
        "one dimension",
        "two keys",
        "key and range",
    ],
)
def test_a_run_whose_tags_name_no_partitions_is_red_and_loads_and_materializes_nothing(
    instance: dg.DagsterInstance, loaded_keys: list[str], spec: TableSpec, tags: dict[str, str], reason: str
) -> None:
    result = _run_with(instance, spec, tags)

    assert not result.success
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert reason in (failure.user_failure_data.description or "")
    assert not [event for event in result.all_events if event.is_step_materialization]
    assert loaded_keys == []


def test_static_keys_make_a_table_partitioned_by_list(database: str, tmp_path: Path) -> None:
    for numbers in (range(9), range(5)):
        for key in ("north", "south"):
            write_sales(tmp_path, key, [*sales(numbers, region=key), *sales([99], region="elsewhere")])
        reports = load(database, BY_REGION, tmp_path, ["north", "south"])
        assert [(report.error, report.dead_lettered_rows) for report in reports] == [(None, 1), (None, 1)]
    assert table_rows(database, BY_REGION) == source_rows(
        [row for key in ("north", "south") for row in sales(range(5), region=key)]
    )
    assert {check.passed for check in run_verify(BY_REGION, url=database)} == {True}


def test_the_hours_of_a_long_day_are_loaded_side_by_side(database: str, tmp_path: Path) -> None:
    keys = _HOURS[:4]
    for hour, key in enumerate(keys):
        write_ticks(tmp_path, key, hour, count=5)
    reports = load(database, TICKS, tmp_path, keys)
    assert [report.error for report in reports] == [None] * 4
    write_ticks(tmp_path, keys[1], 1, count=3)
    assert load_one(database, TICKS, tmp_path, keys[1]).error is None
    assert sum(table_rows(database, TICKS).values()) == 18
    assert {check.passed for check in run_verify(TICKS, url=database)} == {True}
