"""Checks of partitions: which partition is red, what makes it green again, and what recording them costs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionResolvedStatus
from sqlalchemy import event

from pipeline_tests.support.definitions import PARTITIONS, RESOURCES, dagster_table
from pipeline_tests.support.played_loads import PlayedLoad, play_loads, published, rejected
from pipeline_tests.support.tables import EVENTS
from pipeline_tests.support.tables_of_write_modes import (
    BY_DAY_AND_REGION,
    BY_NEW_REGION,
    BY_REGION,
    DAY,
    NEXT_DAY,
    WHOLE_APPENDED,
)
from rowledger.dagster import check_events, verification
from rowledger.dagster.assets import table_asset
from rowledger.dagster.storage import PooledEventLog
from rowledger.dagster.verification import VERIFY_CHECK, verify_check
from rowledger.errors import SourceError
from rowledger.ledger.reports import Check, CheckName
from rowledger.publish.verify import PartitionVerification
from rowledger.settings import settings
from rowledger.spec.table import TableSpec

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
]

DAYS = ("2024-03-01", "2024-03-02", "2024-03-03")
PAIRS = (f"{DAY}|north", f"{DAY}|south", f"{NEXT_DAY}|north", f"{NEXT_DAY}|south")
BALANCE = CheckName.ROW_BALANCE


@pytest.fixture(params=["the storage of Dagster", "the storage of Rowledger"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    if request.param == "the storage of Dagster":
        with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
            yield instance
        return
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", request.getfixturevalue("database"))
    settings.cache_clear()
    storage = {"module": "rowledger.dagster.storage", "class": "RowledgerStorage", "config": {}}
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides={"storage": {"custom": storage}}) as instance:
        assert isinstance(instance.event_log_storage, PooledEventLog)
        yield instance


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance) -> PlayedLoad:
    played = PlayedLoad(instance)
    play_loads(monkeypatch, played)
    return played


def states(instance: dg.DagsterInstance, spec: TableSpec, name: str = BALANCE) -> dict[str, str]:
    """What the Checks tab shows: the state of the check for each partition that has one."""
    key = dg.AssetCheckKey(dg.AssetKey(spec.name), name)
    wanted = (key, PARTITIONS[spec.name])
    shown = {}
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        (found,) = instance.event_log_storage.get_asset_check_state([wanted]).values()
        for status, subset in found.subsets.items():
            for partition in subset.subset_value.get_partition_keys():
                assert partition not in shown
                shown[str(partition)] = status.value
    return shown


GREEN = AssetCheckExecutionResolvedStatus.SUCCEEDED.value
RED = AssetCheckExecutionResolvedStatus.FAILED.value
NOT_MADE = AssetCheckExecutionResolvedStatus.EXECUTION_FAILED.value


@pytest.mark.parametrize(
    ("spec", "keys"),
    [(EVENTS, DAYS), (BY_REGION, ("north", "south")), (BY_NEW_REGION, ("west", "east")), (BY_DAY_AND_REGION, PAIRS)],
    ids=["days", "static keys", "dynamic keys", "two dimensions"],
)
def test_a_bad_partition_of_a_range_is_red_alone_and_its_rerun_makes_it_green(
    load: PlayedLoad, instance: dg.DagsterInstance, spec: TableSpec, keys: Sequence[str]
) -> None:
    instance.add_dynamic_partitions("regions", ["west", "east"])
    bad = keys[1]
    load.reports[bad] = rejected(bad)

    assert not load.run(spec, days=keys).success

    assert states(instance, spec) == {key: RED if key == bad else GREEN for key in keys}

    load.reports[bad] = published(bad, table=spec.name)
    assert load.run(spec, days=[bad]).success

    for name in CheckName:
        assert states(instance, spec, name) == dict.fromkeys(keys, GREEN)


def test_a_run_of_one_partition_says_which_it_was(load: PlayedLoad, instance: dg.DagsterInstance) -> None:
    assert load.run(EVENTS, partition_key=DAYS[0]).success
    load.reports[DAYS[1]] = rejected(DAYS[1])
    run = load.run(EVENTS, partition_key=DAYS[1])

    assert not run.success
    assert states(instance, EVENTS) == {DAYS[0]: GREEN, DAYS[1]: RED}
    assert {(made.check_name, made.partition, made.passed, made.blocking) for made in run.checks} == {
        (name, DAYS[1], name is not BALANCE, True) for name in CheckName
    }


def test_a_partition_that_was_green_is_red_after_a_load_that_failed(
    load: PlayedLoad, instance: dg.DagsterInstance
) -> None:
    load.run(EVENTS, days=DAYS)
    load.reports[DAYS[2]] = rejected(DAYS[2])
    load.run(EVENTS, days=DAYS[1:])

    assert states(instance, EVENTS) == {DAYS[0]: GREEN, DAYS[1]: GREEN, DAYS[2]: RED}


def test_a_check_that_no_load_has_reached_is_not_left_as_it_was(load: PlayedLoad, instance: dg.DagsterInstance) -> None:
    load.run(EVENTS, days=DAYS)
    load.reports[DAYS[1]] = rejected(DAYS[1], SourceError("no file"), checks=())
    load.run(EVENTS, days=DAYS[:2])
    load.reports[DAYS[2]] = rejected(DAYS[2], SourceError("no file"), checks=())
    load.run(EVENTS, partition_key=DAYS[2])

    assert states(instance, EVENTS) == {DAYS[0]: GREEN, DAYS[1]: RED, DAYS[2]: NOT_MADE}
    assert states(instance, EVENTS, CheckName.FINGERPRINT) == {DAYS[0]: GREEN, DAYS[1]: NOT_MADE, DAYS[2]: NOT_MADE}


def test_the_evaluations_of_bad_partitions_are_stored_before_any_materialization(
    load: PlayedLoad, instance: dg.DagsterInstance
) -> None:
    """A run that is killed in between must not look to "re-execute from failure" as if all were published."""
    load.reports[DAYS[1]] = rejected(DAYS[1])
    run = load.run(EVENTS, days=DAYS)

    stored = [
        (record.event_log_entry.get_dagster_event(), record.storage_id)
        for record in instance.get_records_for_run(
            run.result.run_id,
            of_type={dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION},
        ).records
    ]
    in_order = [
        event.partition if event.is_step_materialization else f"{event.asset_check_evaluation_data.partition} checked"
        for event, _ in sorted(stored, key=lambda found: found[1])
    ]
    good = [f"{day} checked" for day in (DAYS[0], DAYS[2]) for _ in CheckName]
    assert in_order == [*([f"{DAYS[1]} checked"] * len(CheckName)), DAYS[0], DAYS[2], *good]


def test_re_execution_from_failure_loads_the_asset_again_where_a_partition_has_failed(
    load: PlayedLoad, instance: dg.DagsterInstance
) -> None:
    load.reports[DAYS[1]] = rejected(DAYS[1], SourceError("no file"), checks=())
    run = load.run(EVENTS, days=DAYS)
    parent = instance.get_run_by_id(run.result.run_id)
    assert parent is not None
    assert parent.execution_plan_snapshot_id is not None
    plan = instance.get_execution_plan_snapshot(parent.execution_plan_snapshot_id)

    assets, checks = instance.run_domain.get_keys_to_reexecute(parent.run_id, plan)

    assert {key.to_user_string() for key in assets} == {"events"}
    assert {key.name for key in checks} == set(CheckName)


def test_a_table_that_is_loaded_whole_has_checks_without_partitions(
    load: PlayedLoad,
) -> None:
    run = load.run(WHOLE_APPENDED)

    assert {(made.check_name, made.partition, made.passed) for made in run.checks} == {
        (name, None, True) for name in CheckName
    }
    assert {spec.partitions_def for spec in table_asset(dagster_table(WHOLE_APPENDED)).check_specs} == {None}


def test_where_dagster_has_no_partitions_of_checks_each_check_has_one_result_over_the_run(
    load: PlayedLoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_events, "CHECKS_CAN_HAVE_PARTITIONS", False)
    load.reports[DAYS[1]] = rejected(DAYS[1])

    run = load.run(EVENTS, days=DAYS)

    assert not run.success
    assert {(made.check_name, made.partition, made.passed) for made in run.checks} == {
        (name, None, name is not BALANCE) for name in CheckName
    }
    assert {spec.partitions_def for spec in table_asset(dagster_table(EVENTS)).check_specs} == {None}
    assert set(run.materialized) == {DAYS[0], DAYS[2]}


def _verify(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, changed: Sequence[str], days: Sequence[str]
) -> dg.ExecuteInProcessResult:
    def played(*_args: object, **_rest: object) -> list[PartitionVerification]:
        return [
            PartitionVerification(day, (Check(BALANCE, passed=day not in changed, summary="as it is"),)) for day in days
        ]

    monkeypatch.setattr(verification, "run_verify", played)
    monkeypatch.setattr("rowledger.dagster.database.target_url", lambda: "postgresql://nowhere/db")
    table = dagster_table(EVENTS)
    job = dg.define_asset_job("verify", dg.AssetSelection.checks(dg.AssetCheckKey(table.key, VERIFY_CHECK)))
    definitions = dg.Definitions(
        assets=[table_asset(table)], asset_checks=[verify_check(table)], jobs=[job], resources=RESOURCES
    )
    return definitions.resolve_job_def("verify").execute_in_process(instance=instance, raise_on_error=False)


def test_verification_of_all_partitions_says_which_have_changed(
    load: PlayedLoad, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    load.run(EVENTS, days=DAYS)

    result = _verify(instance, monkeypatch, [DAYS[2]], DAYS)

    assert not result.success
    assert states(instance, EVENTS, VERIFY_CHECK) == {DAYS[0]: GREEN, DAYS[1]: GREEN, DAYS[2]: RED}
    assert [(made.partition, made.passed) for made in result.get_asset_check_evaluations()] == [
        (None, False),
        (DAYS[0], True),
        (DAYS[1], True),
        (DAYS[2], False),
    ]

    assert _verify(instance, monkeypatch, [], DAYS).success
    assert states(instance, EVENTS, VERIFY_CHECK) == dict.fromkeys(DAYS, GREEN)


def test_published_partitions_are_verified_though_the_step_of_that_check_is_skipped(
    load: PlayedLoad, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []

    def played(*_args: object, partition_keys: Sequence[str], **_rest: object) -> list[PartitionVerification]:
        asked.append(partition_keys)
        same = Check(BALANCE, passed=True, summary="as it is")
        return [PartitionVerification(day, (same,)) for day in partition_keys]

    monkeypatch.setattr(verification, "run_verify", played)
    load.reports[DAYS[1]] = rejected(DAYS[1])
    table = dagster_table(EVENTS)

    def run(first: str, last: str) -> bool:
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        both = [table_asset(table), verify_check(table)]
        return dg.materialize(both, instance=instance, resources=RESOURCES, tags=tags, raise_on_error=False).success

    assert not run(DAYS[0], DAYS[2])

    assert asked == [[DAYS[0], DAYS[2]]]
    assert states(instance, EVENTS, VERIFY_CHECK) == {DAYS[0]: GREEN, DAYS[1]: NOT_MADE, DAYS[2]: GREEN}

    del load.reports[DAYS[1]]
    assert run(DAYS[1], DAYS[1])
    assert states(instance, EVENTS, VERIFY_CHECK) == dict.fromkeys(DAYS, GREEN)


@pytest.mark.parametrize("instance", ["the storage of Rowledger"], indirect=True)
def test_the_evaluations_of_a_run_are_stored_in_a_few_statements(
    load: PlayedLoad, instance: dg.DagsterInstance
) -> None:
    keys = PARTITIONS["flights"].get_partition_keys()[:60]
    statements: list[str] = []

    @event.listens_for(instance.event_log_storage._engine, "before_cursor_execute")  # type: ignore[attr-defined]
    def count(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    load.run(days=keys)

    stored = [statement for statement in statements if "asset_check_executions" in statement]
    assert len(
        instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("flights"), BALANCE), limit=100
        )
    ) == len(keys)
    assert len(stored) <= 2 * len(CheckName) + 2
