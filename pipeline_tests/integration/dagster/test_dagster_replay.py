"""Replay in Dagster: the job and its form, and the sensor that starts it for what was corrected."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result
from dagster._core.execution.plan.objects import UserFailureData
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from pipeline.definitions import defs as own_defs
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.definitions import RESOURCES, dagster_table
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.replaying import ACTOR, edit, states
from pipeline_tests.support.tables import DAY, EVENTS, changed, events, write_source
from rowledger.cli import servers
from rowledger.cli.main import cli
from rowledger.contract.dead_letter import Stage
from rowledger.dagster import replay as replay_defs
from rowledger.dagster.replay import ReplayConfig, replay_job_and_sensor
from rowledger.dagster.verification import VERIFY_CHECK, verify_check
from rowledger.dead_letters.changes import decide
from rowledger.errors import DatabaseUnavailable, SpecError
from rowledger.ledger.dead_letter_outcomes import DeadLetterSelection
from rowledger.ledger.reports import CheckName
from rowledger.ledger.states import DeadLetterState

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
]
OP = "events_replay_dead_letters"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path / "dagster")) as instance:
        yield instance


@pytest.fixture
def definitions(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """A published day with three dead letters, as Dagster sees it."""
    write_source(tmp_path, "events", DAY, changed(events(20), {n: {"event_id": -n} for n in (3, 7, 9)}))
    assert load_one(database, EVENTS, tmp_path, DAY, asset_key=("events",)).error is None
    monkeypatch.setattr("rowledger.dagster.database.target_url", lambda: database)
    own = dg.Definitions(asset_checks=[verify_check(dagster_table(EVENTS))], resources=RESOURCES)
    return dg.Definitions.merge(own, replay_job_and_sensor(dagster_table(EVENTS), sensor=True))


def _run(definitions: dg.Definitions, instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    job = definitions.resolve_job_def("events_replay")
    return job.execute_in_process(instance=instance, run_config={"ops": {OP: {"config": config}}}, raise_on_error=False)


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (output,) = [event for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def _failure(result: dg.ExecuteInProcessResult) -> UserFailureData:
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    return data


def _events(instance: dg.DagsterInstance) -> list[dg.AssetMaterialization | dg.AssetObservation]:
    """What Dagster was told of the table, newest first."""
    key = dg.AssetKey("events")
    found = [record.asset_materialization for record in instance.fetch_materializations(key, limit=10).records]
    found += [record.asset_observation for record in instance.fetch_observations(key, limit=10).records]
    return [event for event in found if event is not None]


def _shown_checks(instance: dg.DagsterInstance) -> dict[str, tuple[bool, str | None]]:
    """The verdicts that Dagster shows beside the latest materialization of the table."""
    keys = [dg.AssetCheckKey(dg.AssetKey("events"), name) for name in [*CheckName, VERIFY_CHECK]]

    async def look() -> dict[str, tuple[bool, str | None]]:
        loading = LoadingContextForTest(instance)
        found = {}
        for key in keys:
            record = await AssetCheckExecutionRecord.gen(loading, key)
            if record and record.evaluation and await record.targets_latest_materialization(loading):
                found[str(key.name)] = (record.evaluation.passed, record.evaluation.description)
        return found

    return asyncio.run(look())


def test_a_replay_that_wrote_all_that_it_was_asked_for_is_green_and_materializes_the_new_counts(
    database: str, tmp_path: Path, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    edit(database, EVENTS, tmp_path, {3: {"event_id": 3}, 7: {"event_id": 7}})

    result = _run(definitions, instance, states=["corrected"], note="ticket 12")

    assert result.success
    metadata = _metadata(result)
    figures = {
        "dead_letters": 2,
        "written_dead_letters": 2,
        "refused_dead_letters": 0,
        "skipped_dead_letters": 0,
        "written_rows": 2,
    }
    assert {name: metadata[name] for name in figures} == figures
    (materialization,) = _events(instance)
    assert isinstance(materialization, dg.AssetMaterialization)
    assert materialization.partition == DAY
    counts = {
        "enqueued_rows": 20,
        "written_rows": 19,
        "dead_lettered_rows": 1,
        "dagster/partition_row_count": 19,
        "replayed_rows": 2,
    }
    assert {name: materialization.metadata[name].value for name in counts} == counts
    assert states(database) == {3: "replayed", 7: "replayed", 9: "open"}
    told = "select max(actor || ': ' || note) from rowledger.letter_event where run_id = $1"
    assert fetch_value(database, told, result.run_id) == "job events_replay: ticket 12"
    assert _shown_checks(instance) == {
        "every_row_accounted_for": (
            True,
            "20 enqueued, 19 written, 1 dead-lettered; 19 rows in the table, as it should be",
        ),
        "values_unchanged": (True, "every column's fingerprint is the same in the source and in the table"),
        "dead_letters_within_budget": (True, "1 dead letter, 10 allowed (at most 200 rows and 50.00% of 20)"),
        "published_rows_unchanged": (True, "1 published partition is as the ledger has them"),
    }


def test_a_replay_into_a_partition_that_is_not_what_the_ledger_says_is_red(
    database: str, tmp_path: Path, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    edit(database, EVENTS, tmp_path, {3: {"event_id": 3}})
    fetch(database, "delete from events where event_id = 5")

    result = _run(definitions, instance, states=["corrected"])

    assert not result.success
    problem = "every_row_accounted_for: 17 rows in the table, 18 were written"
    told = (_failure(result).description or "").splitlines()
    assert told[0] == "events: 1 of 1 partitions with replayed rows are not what the ledger says:"
    assert told[1].startswith(f"{DAY}: {problem}")
    passed = {name: passed for name, (passed, _) in _shown_checks(instance).items()}
    assert passed == {
        "every_row_accounted_for": False,
        "values_unchanged": False,
        "dead_letters_within_budget": True,
        "published_rows_unchanged": False,
    }
    assert states(database) == {3: "replayed", 7: "open", 9: "open"}


def test_a_replay_whose_partitions_cannot_be_verified_judges_no_check(
    database: str,
    tmp_path: Path,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edit(database, EVENTS, tmp_path, {3: {"event_id": 3}})

    def away(*_arguments: object, **_more: object) -> None:
        raise DatabaseUnavailable("the server at db:5432 refuses connections")

    monkeypatch.setattr(replay_defs, "run_verify", away)
    assert _run(definitions, instance, states=["corrected"]).success
    assert [type(event) for event in _events(instance)] == [dg.AssetMaterialization]
    assert _shown_checks(instance) == {}


def test_a_replay_of_which_a_row_is_refused_again_is_red_and_the_others_are_written(
    database: str, tmp_path: Path, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    edit(database, EVENTS, tmp_path, {3: {"event_id": 3}, 7: {"event_id": 7}})

    result = _run(definitions, instance)

    assert not result.success
    reason = "event_id: Input should be greater than or equal to 0 [greater_than_equal]"
    failure = _failure(result)
    assert (failure.description or "").splitlines() == [
        "events: 1 of 3 dead letters were not written; see them by `rowledger dead-letters list --table events`",
        f"1 not written: {reason}",
    ]
    figures = {
        "dead_letters": 3,
        "written_dead_letters": 2,
        "refused_dead_letters": 1,
    }
    assert {name: failure.metadata[name].value for name in figures} == figures
    (refused,) = failure.metadata["refused_by_reason"].records
    assert refused.data == {"reason": reason, "dead_letters": 1}
    assert [type(event) for event in _events(instance)] == [dg.AssetMaterialization]
    assert states(database) == {3: "replayed", 7: "replayed", 9: "open"}


def test_a_replay_that_writes_nothing_is_red_and_materializes_nothing(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    assert not _run(definitions, instance).success
    (observation,) = _events(instance)
    assert isinstance(observation, dg.AssetObservation)
    counts = {
        "enqueued_rows": 20,
        "written_rows": 17,
        "dead_lettered_rows": 3,
        "dagster/partition_row_count": 17,
        "replayed_rows": 0,
        "refused_dead_letters": 3,
    }
    assert {name: observation.metadata[name].value for name in counts} == counts, (
        "Dagster shows these on the asset's page"
    )
    assert (observation.partition, observation.metadata["refused_dead_letters"].value) == (DAY, 3)


@pytest.fixture
def replay_by_command(
    database: str, tmp_path: Path, definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Result]:
    """Replays one edited dead letter of the published day by the command, in a folder without a Dagster instance."""
    assert definitions
    edit(database, EVENTS, tmp_path, {3: {"event_id": 3}})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(servers, "existing_url", lambda: database)
    command = ["dead-letters", "replay", "--table", "events", "--state", "corrected"]
    return lambda: CliRunner().invoke(cli, command)


def test_a_replay_from_the_command_line_is_told_to_the_instance_of_its_folder(
    tmp_path: Path, replay_by_command: Callable[[], Result]
) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")

    done = replay_by_command()

    assert (done.exit_code, done.stderr) == (0, "")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        (materialization,) = _events(instance)
        checks = _shown_checks(instance)
    assert materialization.metadata["written_rows"].value == 18
    assert materialization.partition == DAY
    assert {name: passed for name, (passed, _) in checks.items()} == dict.fromkeys([*CheckName, VERIFY_CHECK], True)


def test_a_replay_from_the_command_line_is_told_under_the_key_by_which_dagster_has_loaded_the_table(
    database: str, tmp_path: Path, replay_by_command: Callable[[], Result]
) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    write_source(tmp_path, "events", "2024-03-02", events(0))
    assert load_one(database, EVENTS, tmp_path, "2024-03-02", asset_key=("lake", "events")).error is None
    assert load_one(database, EVENTS, tmp_path, "2024-03-02").error is None  # without Dagster: the key is kept

    assert replay_by_command().exit_code == 0
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey(["lake", "events"])) == {DAY}
        assert instance.get_materialized_partitions(dg.AssetKey("events")) == set()


def test_a_replay_from_the_command_line_of_a_table_that_dagster_does_not_load_is_told_to_no_instance(
    database: str, tmp_path: Path, replay_by_command: Callable[[], Result]
) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    fetch(database, "update rowledger.table_spec set asset_key = null")

    done = replay_by_command()

    assert (done.exit_code, done.stderr) == (0, "")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert not instance.all_asset_keys()


def test_a_replay_from_the_command_line_into_a_changed_partition_ends_with_exit_code_1(
    database: str, replay_by_command: Callable[[], Result]
) -> None:
    fetch(database, "delete from events where event_id = 5")

    done = replay_by_command()

    assert done.exit_code == 1
    assert "1 dead letter: 1 written" in done.stdout
    assert done.stderr.splitlines()[0] == (
        f"events {DAY}: every_row_accounted_for: 17 rows in the table, 18 were written; load the partition again"
    )


def test_a_replay_from_a_folder_without_an_instance_says_that_dagster_was_not_told(
    replay_by_command: Callable[[], Result],
) -> None:
    done = replay_by_command()

    assert done.exit_code == 0
    assert done.stderr == (
        "Dagster was not told of it: DAGSTER_HOME is not set, and there is no dagster.yaml in this folder\n"
    )


def test_a_replay_into_rows_whose_newer_load_was_rejected_leaves_the_partition_red(
    database: str, tmp_path: Path, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    edit(database, EVENTS, tmp_path, {3: {"event_id": 3}})
    write_source(tmp_path, "events", DAY, changed(events(20), {n: {"event_id": -n} for n in range(15)}))
    assert load_one(database, EVENTS, tmp_path, DAY).error is not None

    assert _run(definitions, instance, states=["corrected"]).success

    (observation,) = _events(instance)
    assert isinstance(observation, dg.AssetObservation)
    assert observation.metadata["replayed_rows"].value == 1
    keys = [dg.AssetCheckKey(dg.AssetKey("events"), name) for name in [*CheckName, VERIFY_CHECK]]
    made = {key.name: instance.event_log_storage.get_asset_check_execution_history(key, limit=9) for key in keys}
    assert {name for name, records in made.items() if records} == {VERIFY_CHECK}


def test_the_form_chooses_letters(database: str, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    assert _metadata(_run(definitions, instance, stages=["copy"]))["dead_letters"] == 0
    assert _failure(_run(definitions, instance, limit=2)).metadata["dead_letters"].value == 2
    assert set(states(database).values()) == {"open"}


def test_what_ends_a_replay_is_red_and_says_what_to_do(
    definitions: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object, **_more: object) -> None:
        raise DatabaseUnavailable("the server at db:5432 refuses connections")

    monkeypatch.setattr(replay_defs, "run_replay", away)
    for config, text in (
        ({}, "events: DatabaseUnavailable: the server"),
        ({"stages": ["kopie"]}, "form of the replay"),
    ):
        result = _run(definitions, instance, **config)
        assert not result.success
        assert text in (_failure(result).description or "")


def test_the_form_says_what_each_field_means() -> None:
    schema = ReplayConfig.to_fields_dict()
    assert set(schema) == {"partitions", "stages", "states", "constraint", "ids", "limit", "server", "note"}
    assert all(field.description and not field.is_required for field in schema.values())
    chosen = ReplayConfig(stages=["copy"], states=["corrected"], ids=[3], limit=5)
    assert chosen.selection() == DeadLetterSelection(
        stages=(Stage.COPY,), states=(DeadLetterState.CORRECTED,), ids=(3,), limit=5
    )
    assert ReplayConfig().selection() == DeadLetterSelection()
    with pytest.raises(SpecError, match=r"states\.0: Input should be 'open', 'corrected'"):
        ReplayConfig(states=["dead"]).selection()


def test_the_published_rows_are_still_what_the_ledger_says(
    database: str, tmp_path: Path, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    edit(database, EVENTS, tmp_path, {3: {"event_id": 3}})
    assert _run(definitions, instance, states=["corrected"]).success
    checks = dg.Definitions.merge(
        definitions,
        dg.Definitions(
            jobs=[
                dg.define_asset_job(
                    "verify", dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("events"), VERIFY_CHECK))
                )
            ]
        ),
    )
    result = checks.resolve_job_def("verify").execute_in_process(instance=instance, raise_on_error=False)
    evaluations = result.get_asset_check_evaluations()
    assert [(made.partition, made.passed, made.description) for made in evaluations] == [
        (partition, True, "1 published partition is as the ledger has them") for partition in (None, DAY)
    ]


def test_what_was_corrected_once_starts_one_run(
    database: str, tmp_path: Path, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    repository = definitions.get_repository_def()
    sensor = repository.get_sensor_def("events_corrected")
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED

    def tick() -> dg.RunRequest | dg.SkipReason:
        context = dg.build_sensor_context(instance=instance, resources=RESOURCES)
        found = sensor.evaluate_tick(context)
        return found.run_requests[0] if found.run_requests else dg.SkipReason(found.skip_message)

    assert isinstance(tick(), dg.SkipReason)
    edit(database, EVENTS, tmp_path, {3: {"event_id": 3}})
    first, again = tick(), tick()
    assert isinstance(first, dg.RunRequest)
    assert isinstance(again, dg.RunRequest)
    assert first.run_key == again.run_key, "Dagster starts one run a key, whatever became of the first tick"
    decide(
        database,
        EVENTS.name,
        DeadLetterSelection(column="event_id", states=(DeadLetterState.OPEN,)),
        DeadLetterState.CORRECTED,
        ACTOR,
    )
    more = tick()
    assert isinstance(more, dg.RunRequest)
    assert more.run_key != first.run_key
    job = definitions.resolve_job_def("events_replay")
    result = job.execute_in_process(instance=instance, run_config=more.run_config, raise_on_error=False)
    assert _failure(result).metadata["dead_letters"].value == 3
    assert isinstance(tick(), dg.SkipReason), "what was refused again is open, and waits for another edit"


def test_each_table_has_its_job_and_its_sensor() -> None:
    repository = own_defs.get_repository_def()
    assert "flights_replay" in repository.job_names
    assert [sensor.name for sensor in repository.sensor_defs] == ["flights_corrected"]
