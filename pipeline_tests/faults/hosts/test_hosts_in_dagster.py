"""Dagster's face of a load on other hosts: the writer's config asks for them, and metadata names them."""

from pathlib import Path

import dagster as dg
import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.definitions import table_defs
from pipeline_tests.support.process_hosts import ProcessHosts
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from rowledger.settings import settings


def test_an_asset_is_materialized_by_hosts_and_its_metadata_names_the_host_of_a_dead_worker(
    database: str, tmp_path: Path, engine: ProcessHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", database)
    monkeypatch.setenv("ROWLEDGER_HOME", str(tmp_path))
    settings.cache_clear()
    rows = events(600)
    write_source(tmp_path / "landing", "events", DAY, rows)
    fault = "mid_copy=sigkill@chunk=2,attempt=1"
    engine.add("north", {"ROWLEDGER_DATABASE_URL": database, "ROWLEDGER_FAILPOINTS": fault})
    job = table_defs(EVENTS).resolve_job_def("events_load")

    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        config = {"workers": 1, "chunk_rows_max": 100, "engine": "ray"}
        result = job.execute_in_process(
            instance=instance, partition_key=DAY, run_config={"resources": {"events_writer": {"config": config}}}
        )

    assert result.success
    (materialized,) = result.asset_materializations_for_node("events")
    metadata = materialized.metadata
    assert metadata["written_rows"].value == 600
    (crash,) = metadata["crashed_pids"].value
    assert (crash["host"], crash["chunk"], crash["exit_code"]) == ("north", 2, -9)
    assert_accounted(database, EVENTS, rows)
