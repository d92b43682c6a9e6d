"""Tables with partitions of any kind, from their definitions to the rows that are in the table; and several in one project."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import FAST
from pipeline_tests.support.tables_of_any_partitions import ROWS, sampled
from rowledger.dagster.definitions import build_table_defs
from rowledger.dagster.resources import GuardedWriter
from rowledger.spec.table import TableSpec, WriteMode

ROOT = Path(__file__).parents[3]
COMMAND_TIMEOUT_S = 180

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings(
        "ignore:Function `JobDefinition.run_request_for_partition`:DeprecationWarning"
    ),  # Dagster's own use
]

NEW_YORK, LONDON = "America/New_York", "Europe/London"
QUARTERS = dg.TimeWindowPartitionsDefinition(
    start="2024-11-03-00:00",
    end="2024-11-04-00:00",
    cron_schedule="*/15 * * * *",
    fmt="%Y-%m-%d-%H:%M",
    timezone=NEW_YORK,
)
PLACES = dg.StaticPartitionsDefinition(["north", "south"])
NUMBERS = dg.StaticPartitionsDefinition(["1", "2"])
DAYS = dg.DailyPartitionsDefinition("2024-03-01", end_date="2024-04-01")
CITIES = dg.DynamicPartitionsDefinition(name="cities")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        instance.add_dynamic_partitions("cities", ["Oslo", "Rome"])
        yield instance


@pytest.fixture(autouse=True)
def target(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("rowledger.dagster.database.target_url", lambda: database)
    return database


def defined(spec: TableSpec, partitions_def: dg.PartitionsDefinition | None, **more: object) -> dg.Definitions:
    return build_table_defs(spec, partitions_def=partitions_def, writer=GuardedWriter(**FAST), jobs=True, **more)


def run(defs: dg.Definitions, instance: dg.DagsterInstance, table: str, keys: Sequence[str]) -> None:
    """Run the table's load job for a key, or over the range from one to another, and then its verification."""
    ends = dict(zip(("start", "end"), (keys[0], keys[-1]), strict=True))
    tags = {f"dagster/asset_partition_range_{end}": key for end, key in ends.items()} if len(keys) > 1 else {}
    load = defs.resolve_job_def(f"{table}_load")
    assert load.execute_in_process(instance=instance, partition_key=None if tags else keys[0], tags=tags).success
    verified = defs.resolve_job_def(f"{table}_verify").execute_in_process(instance=instance)
    evaluations = verified.get_asset_check_evaluations()
    assert all(found.passed for found in evaluations)
    assert {None, *keys} <= {found.partition for found in evaluations}


@pytest.mark.parametrize(
    ("partition_by", "definition", "keys"),
    [
        ("at", QUARTERS, ["2024-11-03-01:45", "2024-11-03-01:00-0500", "2024-11-03-01:15-0500"]),
        (
            "at",
            dg.HourlyPartitionsDefinition("2024-10-27-00:00", timezone=LONDON),
            ["2024-10-27-01:00", "2024-10-27-01:00+0000"],
        ),
        ("at", dg.WeeklyPartitionsDefinition("2024-03-01", day_offset=4), ["2024-03-07", "2024-03-14"]),
        ("at", dg.MonthlyPartitionsDefinition("2024-01", fmt="%Y-%m"), ["2024-02", "2024-03"]),
        ("at", dg.DailyPartitionsDefinition("2024-03-01", hour_offset=8, end_offset=1), ["2024-03-01"]),
        ("place", PLACES, ["north", "south"]),
        ("place", CITIES, ["Oslo", "Rome"]),
        (
            {"day": "at", "place": "place"},
            dg.MultiPartitionsDefinition({"day": DAYS, "place": PLACES}),
            ["2024-03-01|south"],
        ),
        (
            {"a": "number", "b": "place"},
            dg.MultiPartitionsDefinition({"b": PLACES, "a": NUMBERS}),
            ["1|north", "2|south"],
        ),
        (
            {"city": "place", "day": "at"},
            dg.MultiPartitionsDefinition({"day": DAYS, "city": CITIES}),
            ["Oslo|2024-03-01", "Rome|2024-03-02"],
        ),
    ],
    ids=[
        "cron",
        "hours",
        "weeks",
        "months",
        "offsets",
        "static",
        "dynamic",
        "time and static",
        "static and static",
        "dynamic and time",
    ],
)
def test_a_partition_is_loaded_and_replaced_without_its_neighbours(
    target: str,
    instance: dg.DagsterInstance,
    partition_by: str | dict[str, str],
    definition: dg.PartitionsDefinition,
    keys: list[str],
) -> None:
    defs = defined(sampled("samples", partition_by), definition)
    run(defs, instance, "samples", keys)
    run(defs, instance, "samples", keys[:1])

    loaded = {row["loaded"]: row["count"] for row in fetch(target, "select loaded, count(*) from samples group by 1")}
    between = [loaded.pop(key) for key in keys]
    assert between == [ROWS] * len(keys)
    assert set(loaded.values()) <= {ROWS}, "of a range over two dimensions there are more keys than its ends"
    letters = {row["count"] for row in fetch(target, "select count(*) from rowledger.dead_letter group by load_id")}
    assert letters <= {1}, "a row at a window's upper bound is the next window's"
    materialized = instance.get_materialized_partitions(dg.AssetKey("samples"))
    assert set(keys) <= materialized
    assert materialized == set(keys) | set(loaded)


def test_keys_without_a_column_only_choose_what_is_appended(target: str, instance: dg.DagsterInstance) -> None:
    defs = defined(sampled("samples", None, WriteMode.APPEND), PLACES)
    run(defs, instance, "samples", ["north", "south"])
    run(defs, instance, "samples", ["north"])

    assert fetch(target, "select count(*) from samples where place = 'anywhere'")[0][0] == 2 * ROWS


def test_two_tables_of_one_project_each_have_their_own_key_and_partitions(
    target: str, instance: dg.DagsterInstance
) -> None:
    by_day = build_table_defs(sampled("by_day", "at"), partitions_def=DAYS, key=["lake", "samples"], jobs=True)
    whole = build_table_defs(sampled("whole", None, WriteMode.APPEND), jobs=True)
    defs = dg.Definitions.merge(by_day, whole)

    assert {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()} == {
        "lake/samples",
        "whole",
    }
    run(defs, instance, "lake__samples", ["2024-03-01"])
    assert instance.get_materialized_partitions(dg.AssetKey(["lake", "samples"])) == {"2024-03-01"}
    load = defs.resolve_job_def("whole_load").execute_in_process(instance=instance)
    assert load.success
    assert fetch(target, "select (select count(*) from by_day), (select count(*) from whole)")[0][:] == (ROWS, ROWS)


def test_landing_assets_with_the_same_partitions_are_loaded_along_and_others_are_not() -> None:
    @dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
    def landed() -> None: ...

    @dg.asset
    def reference() -> None: ...

    defs = dg.Definitions.merge(
        dg.Definitions(assets=[landed, reference]),
        defined(sampled("samples", "at"), DAYS, landing=[landed, reference]),
    )

    assert {node.name for node in defs.resolve_job_def("samples_load").nodes} == {"landed", "samples"}
    parents = defs.resolve_asset_graph().get(dg.AssetKey("samples")).parent_keys
    assert parents == {dg.AssetKey("landed"), dg.AssetKey("reference")}


@pytest.mark.parametrize(
    ("definition", "name", "cron_schedule", "tick", "key"),
    [
        (QUARTERS, "by_cron", "5-59/15 * * * *", datetime(2024, 11, 3, 6, 20, tzinfo=UTC), "2024-11-03-01:00-0500"),
        (
            dg.TimeWindowPartitionsDefinition(start="2024-03-01-06", cron_schedule="0 6,18 * * *", fmt="%Y-%m-%d-%H"),
            "by_cron",
            "15 6,18 * * *",
            datetime(2024, 3, 5, 6, 15, tzinfo=UTC),
            "2024-03-04-18",
        ),
        (
            dg.DailyPartitionsDefinition("2024-03-01", hour_offset=8),
            "daily",
            "0 14 * * *",
            datetime(2024, 3, 5, 14, tzinfo=UTC),
            "2024-03-04",
        ),
        (
            dg.DailyPartitionsDefinition("2024-03-01", hour_offset=20),
            "daily",
            "0 2 * * *",
            datetime(2024, 3, 5, 2, tzinfo=UTC),
            "2024-03-03",
        ),
        (
            dg.HourlyPartitionsDefinition("2024-03-01-00:00", minute_offset=50),
            "hourly",
            "5 * * * *",
            datetime(2024, 3, 5, 2, 5, tzinfo=UTC),
            "2024-03-05-00:50",
        ),
        (
            dg.MonthlyPartitionsDefinition("2024-01-01", hour_offset=20),
            "monthly",
            "0 23 1 * *",
            datetime(2024, 3, 1, 23, tzinfo=UTC),
            "2024-02-01",
        ),
    ],
    ids=["quarters of an hour", "twice a day", "days from eight", "days from twenty", "hours", "months"],
)
def test_a_schedule_loads_the_last_window_some_time_after_it_is_over(
    instance: dg.DagsterInstance,
    definition: dg.PartitionsDefinition,
    name: str,
    cron_schedule: str,
    tick: datetime,
    key: str,
) -> None:
    repository = defined(sampled("samples", "at"), definition, schedule=True).get_repository_def()
    schedule = repository.get_schedule_def(f"samples_{name}")
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=tick, repository_def=repository)

    assert schedule.cron_schedule == cron_schedule
    requests = schedule.evaluate_tick(context).run_requests
    assert requests is not None
    assert [(request.run_key, request.partition_key) for request in requests] == [(key, key)]


def test_a_cron_schedule_starts_no_run_once_its_windows_have_ended(instance: dg.DagsterInstance) -> None:
    repository = defined(sampled("samples", "at"), QUARTERS, schedule=True).get_repository_def()
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=datetime(2024, 11, 4, 6, 20, tzinfo=UTC), repository_def=repository
    )

    tick = repository.get_schedule_def("samples_by_cron").evaluate_tick(context)
    assert not tick.run_requests
    assert "has just ended" in (tick.skip_message or "")


def test_both_dynamic_dimensions_have_a_job_that_adds_their_keys(instance: dg.DagsterInstance) -> None:
    streets = dg.DynamicPartitionsDefinition(name="streets")
    definition = dg.MultiPartitionsDefinition({"city": CITIES, "street": streets})
    defs = defined(sampled("samples", None, WriteMode.APPEND), definition)
    config = {"ops": {"samples_add_street_keys": {"config": {"keys": ["High Street"]}}}}

    assert defs.resolve_job_def("samples_add_street").execute_in_process(instance=instance, run_config=config).success
    assert instance.get_dynamic_partitions("streets") == ["High Street"]
    assert defs.resolve_job_def("samples_add_city").nodes


FILE = """
import dagster as dg
from pydantic import BaseModel

from rowledger.dagster import GuardedWriter, build_table_defs
from rowledger.sources import PythonRows
from rowledger.spec import TableSpec


class Reading(BaseModel):
    station: str
    value: int


def readings(partition):
    yield from ({"station": partition.key, "value": value} for value in range(5))


def table(name):
    return TableSpec(name=name, row=Reading, source=PythonRows(function=readings), partition_by="station")


stations = dg.StaticPartitionsDefinition(["one", "two"])
defs = dg.Definitions.merge(
    *(build_table_defs(table(name), partitions_def=stations, writer=GuardedWriter(workers=1)) for name in ("inner", "outer")),
)
"""


def test_tables_that_a_function_makes_in_a_file_are_loaded_from_the_command_line(target: str, tmp_path: Path) -> None:
    (tmp_path / "readings.py").write_text(FILE, encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ROWLEDGER_", "DAGSTER_"))}
    command = ["dagster", "asset", "materialize", "-f", "readings.py", "--select", "inner,outer", "--partition", "two"]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tmp_path,
        env={
            **inherited,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "ROWLEDGER_DATABASE_URL": target,
            "ROWLEDGER_HOME": str(tmp_path / "home"),
        },
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    for table in ("inner", "outer"):
        assert [row[:] for row in fetch(target, f'select station, count(*) from "{table}" group by 1')] == [("two", 5)]
