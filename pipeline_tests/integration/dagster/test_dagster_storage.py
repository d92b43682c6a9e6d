"""Dagster's storage: what it adds to dagster-postgres, and what it leaves in the working directory."""

import gc
from pathlib import Path

import click
import dagster as dg
import pytest
from dagster._core.events import StepMaterializationData

from pipeline_tests.support.database import fetch_value
from pipeline_tests.support.server_traps import standby_asked_for
from rowledger.dagster import storage as storage_module
from rowledger.dagster.storage import PooledEventLog, RowledgerStorage
from rowledger.settings import settings

KEY = dg.AssetKey("flights")
MOMENT_S = 1_700_000_000.25


def materialized(partition: str, *, at_s: float) -> dg.EventLogEntry:
    data = StepMaterializationData(dg.AssetMaterialization(KEY, partition=partition), [])
    event = dg.DagsterEvent("ASSET_MATERIALIZATION", "job", event_specific_data=data)
    return dg.EventLogEntry(None, 20, "", "run", at_s, dagster_event=event)


@pytest.fixture
def storage(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RowledgerStorage:
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", database)
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    (tmp_path / ".tmp_dagster_home_of_a_killed_run").mkdir()
    (tmp_path / ".tmp_dagster_home_in_use").mkdir()
    (tmp_path / ".tmp_dagster_home_in_use" / "history.db").touch()
    return RowledgerStorage()


def test_events_that_happened_in_one_millisecond_are_stored_in_their_order_a_millisecond_each(
    storage: RowledgerStorage,
) -> None:
    log = storage.event_log_storage
    log.store_event_batch([materialized(str(number), at_s=MOMENT_S) for number in range(20)])
    for number in range(20, 23):
        log.store_event(materialized(str(number), at_s=MOMENT_S))
    log.store_event(materialized("later", at_s=MOMENT_S + 60))

    records = log.fetch_materializations(KEY, limit=100, ascending=True).records

    assert [record.partition_key for record in records] == [*map(str, range(23)), "later"]
    assert len({int(record.timestamp * 1000) for record in records}) == len(records)
    assert [records[0].timestamp, records[-1].timestamp] == [MOMENT_S, MOMENT_S + 60]


def evaluated(name: str, partition: str | None) -> dg.EventLogEntry:
    data = dg.AssetCheckEvaluation(asset_key=KEY, check_name=name, passed=True, metadata={}, partition=partition)
    event = dg.DagsterEvent("ASSET_CHECK_EVALUATION", "job", event_specific_data=data)
    return dg.EventLogEntry(None, 20, "", "run", MOMENT_S, dagster_event=event)


def test_evaluations_of_partitions_are_stored_together_beside_one_of_the_whole_table(storage: RowledgerStorage) -> None:
    log = storage.event_log_storage
    log.store_event_batch([evaluated("same", None), evaluated("same", "a"), evaluated("same", "b")])

    records = log.get_asset_check_execution_history(dg.AssetCheckKey(KEY, "same"), limit=9)

    assert {
        record.event and record.event.get_dagster_event().asset_check_evaluation_data.partition for record in records
    } == {
        None,
        "a",
        "b",
    }


def test_looking_up_dynamic_partitions_gives_each_connection_back(storage: RowledgerStorage) -> None:
    log = storage.event_log_storage
    assert isinstance(log, PooledEventLog)
    log.add_dynamic_partitions("regions", ["west"])
    gc.disable()  # which would give them back, sooner or later
    try:
        found = [log.has_dynamic_partition("regions", name) for name in ("west", "east")]
        left_open = log._engine.pool.checkedout()
    finally:
        gc.enable()
    assert found == [True, False]
    assert left_open == 0


def test_a_url_of_several_hosts_opens_the_storage_too(
    database: str, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, _, address = database.rpartition("@")
    several = f"{credentials}@127.0.0.1:{unused_port},{address}"
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", several)
    settings.cache_clear()
    log = RowledgerStorage().event_log_storage
    log.store_event(materialized("first", at_s=MOMENT_S))
    assert [record.partition_key for record in log.fetch_materializations(KEY, limit=10).records] == ["first"]
    assert fetch_value(several, "select count(*) from dagster.event_logs") == 1


def test_a_storage_whose_commits_would_wait_for_a_missing_standby_is_not_opened(
    server: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", database)
    monkeypatch.setattr(storage_module, "STANDBY_WAIT_S", 0.5)
    settings.cache_clear()
    with standby_asked_for(server), pytest.raises(click.ClickException, match="synchronous_standby_names = 'nowhere'"):
        RowledgerStorage()


@pytest.mark.usefixtures("storage")
def test_an_empty_home_that_a_killed_command_left_is_removed_and_one_in_use_stays(tmp_path: Path) -> None:
    assert [folder.name for folder in tmp_path.glob(".tmp_dagster_home_*")] == [".tmp_dagster_home_in_use"]
