"""Assets whose function returns a table's rows, in runs of Dagster's."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import AwareDatetime, BaseModel

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import FAST
from rowledger import DeadLetterBudget
from rowledger.dagster import GuardedWriter, RowledgerDatabase, build_table_defs, rowledger_asset
from rowledger.errors import SpecError
from rowledger.ledger.reports import CheckName

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
]


class Reading(BaseModel):
    day: date
    place: str
    value: float


DAYS = dg.DailyPartitionsDefinition("2024-03-01", end_date="2024-04-01")
PLACES = dg.StaticPartitionsDefinition(["north", "south"])
FIRST, SECOND, THIRD = "2024-03-01", "2024-03-02", "2024-03-03"
CHECKS = {name.value for name in CheckName}

returned = functools.partial(rowledger_asset, row=Reading, key=("day", "place"), writer=GuardedWriter(**FAST))


def rows(day: str = FIRST, places: int = 3) -> list[dict[str, Any]]:
    return [{"day": date.fromisoformat(day), "place": f"place {n}", "value": n / 4} for n in range(places)]


FRAME = pl.DataFrame(rows())


@pytest.fixture(autouse=True)
def target(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("rowledger.dagster.database.target_url", lambda: database)
    return database


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        yield instance


def materialize(
    instance: dg.DagsterInstance, *assets: dg.AssetsDefinition, key: str | None = None, **options: Any
) -> dg.ExecuteInProcessResult:
    return dg.materialize(assets, instance=instance, partition_key=key, **options)


def over(first: str, last: str) -> dict[str, str]:
    """The tags of a run over a range."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def materialized(result: dg.ExecuteInProcessResult, name: str = "readings") -> dict[str | None, dict[str, Any]]:
    """The metadata of each materialized partition."""
    found = [
        event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(name)
    ]
    return {event.partition: {key: value.value for key, value in event.metadata.items()} for event in found}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {found.check_name: found.passed for found in result.get_asset_check_evaluations()}


async def _arriving() -> AsyncIterator[object]:
    for row in rows():
        await asyncio.sleep(0)
        yield row


async def _computed() -> pl.DataFrame:
    await asyncio.sleep(0)
    return FRAME


def _yielded() -> Iterator[object]:
    yield FRAME[:1]
    yield [Reading(**row) for row in rows()[1:]]


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda: FRAME, id="polars"),
        pytest.param(lambda: pd.DataFrame(rows()), id="pandas"),
        pytest.param(lambda: pa.table(FRAME).to_reader(), id="arrow reader"),
        pytest.param(lambda: [Reading(**row) for row in rows()], id="models"),
        pytest.param(_yielded, id="generator"),
        pytest.param(_arriving, id="async generator"),
        pytest.param(_computed, id="coroutine"),
    ],
)
def test_the_rows_are_loaded_with_checks_and_metadata_in_whatever_form_they_are_returned(
    database: str, instance: dg.DagsterInstance, function: Callable[[], object]
) -> None:
    result = materialize(instance, returned(name="readings")(function))

    assert fetch(database, "select day, place, value from readings order by place") == [
        tuple(row.values()) for row in rows()
    ]
    assert checks(result) == dict.fromkeys(CHECKS, True)
    metadata = materialized(result)[None]
    assert (metadata["dagster/row_count"], metadata["enqueued_rows"]) == (3, 3)
    assert_nothing_left_over(database)


class Scale(dg.ConfigurableResource):
    factor: float


class Settings(dg.Config):
    places: int = 3


@dg.asset(partitions_def=DAYS)
def measured(context: dg.AssetExecutionContext) -> str:
    return context.partition_key


def test_the_function_has_context_config_resources_and_upstream_assets_as_any_asset_s(
    database: str, instance: dg.DagsterInstance
) -> None:
    @returned(partitions_def=DAYS, partition_by="day", deps=["stations"], ins={"before": dg.AssetIn("measured")})
    def readings(context: dg.AssetExecutionContext, config: Settings, before: str, scale: Scale) -> Iterator[object]:
        assert dg.AssetExecutionContext.get().partition_key == context.partition_key
        context.log.info("read")
        for row in rows(before, config.places):
            yield row | {"value": row["value"] * scale.factor}

    assert {dep.asset_key.to_user_string() for dep in readings.get_asset_spec().deps} == {"measured", "stations"}
    result = materialize(
        instance,
        measured,
        readings,
        key=SECOND,
        resources={"scale": Scale(factor=4)},
        run_config={"ops": {"readings": {"config": {"places": 5}}}},
    )

    assert materialized(result)[SECOND]["dagster/partition_row_count"] == 5
    assert fetch_value(database, "select sum(value) from readings where day = '2024-03-02'") == 10


def test_a_function_may_take_nothing_and_the_asset_has_what_it_is_given() -> None:
    condition = dg.AutomationCondition.eager()

    @returned(
        name="levels",
        asset_key=["lake", "levels"],
        key_prefix="eu",
        group_name="lake",
        owners=["team:water"],
        kinds={"polars"},
        automation_condition=condition,
        pool="target_db",
        target="depot.levels",
    )
    def anything() -> list[object]:
        """The lake's levels."""
        return []

    asset = anything.get_asset_spec()
    assert (asset.key, asset.group_name, asset.kinds) == (
        dg.AssetKey(["eu", "lake", "levels"]),
        "lake",
        {"postgres", "polars"},
    )
    assert (asset.description, asset.automation_condition) == ("The lake's levels.", condition)
    assert asset.metadata["dagster/table_name"] == "depot.levels"
    assert (anything.op.name, anything.op.pool) == ("eu__lake__levels", "target_db")
    assert {check.name for check in anything.check_specs} == CHECKS


def test_a_partition_without_rows_is_green_and_empty(database: str, instance: dg.DagsterInstance) -> None:
    @returned(partitions_def=DAYS, partition_by="day")
    def readings() -> list[object]:
        return []

    result = materialize(instance, readings, key=FIRST)

    assert checks(result) == dict.fromkeys(CHECKS, True)
    assert materialized(result)[FIRST]["dagster/partition_row_count"] == 0
    assert fetch_value(database, "select count(*) from readings") == 0


class Tired(Exception):
    pass


@pytest.mark.parametrize("where", ["before the first row", "between rows", "in a range"])
def test_an_exception_of_the_function_is_the_run_s_and_leaves_nothing(
    database: str, instance: dg.DagsterInstance, where: str
) -> None:
    def failing() -> Iterator[object]:
        yield rows(FIRST)
        raise Tired("of reading")

    def readings() -> object:
        if where == "before the first row":
            raise Tired("of reading")
        return failing()

    asset = returned(partitions_def=DAYS, partition_by="day", backfill_policy=dg.BackfillPolicy.single_run())(readings)
    run = {"tags": over(FIRST, SECOND)} if where == "in a range" else {"key": FIRST}
    with pytest.raises(Tired, match="of reading"):
        materialize(instance, asset, **run)

    failed = materialize(instance, asset, raise_on_error=False, **run)
    assert not failed.success
    assert (materialized(failed), checks(failed)) == ({}, {})
    if where != "before the first row":
        assert fetch_value(database, "select count(*) from readings") == 0
        assert_nothing_left_over(database)


def test_a_function_may_ask_dagster_for_a_retry(database: str, instance: dg.DagsterInstance) -> None:
    attempts: list[int] = []

    @returned()
    def readings(context: dg.AssetExecutionContext) -> Iterator[object]:
        attempts.append(context.retry_number)
        yield FRAME
        if not context.retry_number:
            raise dg.RetryRequested(max_retries=1)

    assert materialize(instance, readings).success
    assert attempts == [0, 1]
    assert fetch_value(database, "select count(*) from readings") == 3


def test_a_discrepancy_is_red_before_any_materialization_and_the_rerun_is_green(
    database: str, instance: dg.DagsterInstance
) -> None:
    bad = [True]

    @returned(partitions_def=DAYS, partition_by="day", dead_letters=DeadLetterBudget(rows_max=0))
    def readings(context: dg.AssetExecutionContext) -> list[dict[str, Any]]:
        return [
            row | ({"value": None} if bad and row["place"] == "place 1" else {}) for row in rows(context.partition_key)
        ]

    result = materialize(instance, readings, key=FIRST, raise_on_error=False)
    assert not result.success
    assert materialized(result) == {}
    assert checks(result)[CheckName.DEAD_LETTER_BUDGET] is False
    assert fetch_value(database, "select count(*) from readings") == 0

    bad.clear()
    assert checks(materialize(instance, readings, key=FIRST)) == dict.fromkeys(CHECKS, True)


def test_in_one_run_over_a_range_each_row_goes_to_its_partition(database: str, instance: dg.DagsterInstance) -> None:
    calls: list[list[str]] = []

    @returned(partitions_def=DAYS, partition_by="day", backfill_policy=dg.BackfillPolicy.single_run())
    def readings(context: dg.AssetExecutionContext) -> pl.DataFrame:
        calls.append(list(context.partition_keys))
        return pl.DataFrame([*rows(THIRD, 4), *rows(FIRST, 2)])

    result = materialize(instance, readings, tags=over(FIRST, THIRD))

    assert calls == [[FIRST, SECOND, THIRD]]
    assert {day: found["dagster/partition_row_count"] for day, found in materialized(result).items()} == {
        FIRST: 2,
        SECOND: 0,
        THIRD: 4,
    }
    assert fetch(database, "select day, count(*) from readings group by 1 order by 1") == [
        (date(2024, 3, 1), 2),
        (date(2024, 3, 3), 4),
    ]


def test_in_one_run_over_a_range_the_rows_may_be_returned_by_key(database: str, instance: dg.DagsterInstance) -> None:
    @returned(partitions_def=DAYS, partition_by="day", backfill_policy=dg.BackfillPolicy.single_run())
    def readings(context: dg.AssetExecutionContext) -> dict[str, object]:
        return {key: iter(rows(key, 2)) for key in context.partition_keys}

    assert set(materialized(materialize(instance, readings, tags=over(FIRST, SECOND)))) == {FIRST, SECOND}
    assert fetch_value(database, "select count(*) from readings") == 4


TWO = dg.MultiPartitionsDefinition({"day": DAYS, "place": PLACES})
BY_TWO = {"day": "day", "place": "place"}


def test_a_pair_of_two_dimensions_is_loaded(database: str, instance: dg.DagsterInstance) -> None:
    @returned(partitions_def=TWO, partition_by=BY_TWO)
    def readings(context: dg.AssetExecutionContext) -> dict[str, Any]:
        day, place = context.partition_key.split("|")
        return [{"day": day, "place": place, "value": 1}]

    result = materialize(instance, readings, key=f"{SECOND}|south")

    assert list(materialized(result)) == [f"{SECOND}|south"]
    assert fetch(database, "select day::text, place from readings") == [(SECOND, "south")]


def test_a_run_whose_function_would_be_told_of_other_partitions_is_red(instance: dg.DagsterInstance) -> None:
    @returned(partitions_def=TWO, partition_by=BY_TWO, backfill_policy=dg.BackfillPolicy.single_run())
    def readings() -> list[object]:
        pytest.fail("the function must not be called")

    tags = {
        **over(f"{SECOND}|north", f"{THIRD}|south"),
        "dagster/partition/day": FIRST,
        "dagster/partition/place": "north",
    }
    with pytest.raises(
        dg.Failure, match=r"(?s)the run is for 4 partitions, .*give the asset the backfill policy multi_run"
    ):
        materialize(instance, readings, tags=tags)


def test_a_row_model_without_an_importable_name_is_refused_where_the_asset_is_defined() -> None:
    class Local(BaseModel):
        day: date

    with pytest.raises(SpecError, match=r"row is the class Local .* which worker processes cannot import"):

        @rowledger_asset(row=Local)
        def readings() -> list[object]:
            return []


def test_a_function_that_returns_nothing_says_what_it_has_to_return(instance: dg.DagsterInstance) -> None:
    @returned()
    def readings() -> None:
        pass

    with pytest.raises(dg.Failure, match="readings: its function returned None; nothing was loaded"):
        materialize(instance, readings)


def test_checks_jobs_and_sensor_come_on_request_and_work_on_the_asset_s_table(
    database: str, instance: dg.DagsterInstance
) -> None:
    @returned(partitions_def=DAYS, partition_by="day", key_prefix="lake")
    def readings(context: dg.AssetExecutionContext) -> list[dict[str, Any]]:
        return rows(context.partition_key)

    defs = build_table_defs(readings, jobs=True, sensor=True, schedule=True)

    load = defs.resolve_job_def("lake__readings_load").execute_in_process(instance=instance, partition_key=FIRST)
    assert load.success
    verify = defs.resolve_job_def("lake__readings_verify")
    assert verify.execute_in_process(instance=instance).success
    fetch(database, "delete from readings where place = 'place 0'")
    assert not verify.execute_in_process(instance=instance, raise_on_error=False).success
    assert [sensor.name for sensor in defs.sensors or ()] == ["lake__readings_corrected"]
    with pytest.raises(TypeError, match="give rowledger_asset whatever its asset has"):
        build_table_defs(readings, group_name="lake")


def test_assets_that_bring_their_resources_live_together_with_tables_and_a_project_s_own(database: str) -> None:
    def readings() -> list[object]:
        return []

    own = {"rowledger_database": RowledgerDatabase(url=database), "rowledger_writer": GuardedWriter(workers=1)}
    of_project = rowledger_asset(
        row=Reading, name="of_project", database="rowledger_database", writer="rowledger_writer"
    )
    defs = dg.Definitions(
        assets=[
            rowledger_asset(row=Reading, name="one")(readings),
            rowledger_asset(row=Reading, name="two")(readings),
            of_project(readings),
        ],
        resources=own,
    )

    result = defs.resolve_implicit_global_asset_job_def().execute_in_process()
    assert {key for name in ("one", "two", "of_project") for key in materialized(result, name)} == {None}


class Tick(BaseModel):
    at: AwareDatetime


def test_hours_of_a_day_on_which_the_clock_is_set_have_their_own_rows(instance: dg.DagsterInstance) -> None:
    hours = dg.HourlyPartitionsDefinition("2024-03-30-00:00", timezone="Europe/Rome")

    @rowledger_asset(
        row=Tick,
        partitions_def=hours,
        partition_by="at",
        backfill_policy=dg.BackfillPolicy.single_run(),
        writer=GuardedWriter(**FAST),
    )
    def ticks() -> Iterator[dict[str, Any]]:
        midnight = datetime(2024, 3, 30, 23, tzinfo=UTC)
        for minute in range(0, 180, 20):
            yield {"at": (midnight + timedelta(minutes=minute)).isoformat()}

    result = materialize(instance, ticks, tags=over("2024-03-31-00:00", "2024-03-31-03:00"))

    counts = {key: found["dagster/partition_row_count"] for key, found in materialized(result, "ticks").items()}
    assert counts == {"2024-03-31-00:00": 3, "2024-03-31-01:00": 3, "2024-03-31-03:00": 3}
