"""Real runs: Dagster's own commands, its daemon and its API, on a real server, in a folder of their own."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline_tests.support.installation import COMMAND_TIMEOUT_S, GraphQL, Installation, dagster_dev, wait_for
from pipeline_tests.support.tables_of_write_modes import DAY, sales, write_sales

pytestmark = pytest.mark.timeout(900)  # several commands or a daemon, each of which loads Dagster

FIRST, SECOND, THIRD = "2013-01-01", "2013-01-02", "2013-01-03"
ROWS = {FIRST: 842, SECOND: 943, THIRD: 914}


@pytest.fixture
def installation(tmp_path: Path, database: str) -> Installation:
    return Installation(tmp_path, database)


def test_a_range_is_landed_loaded_and_verified_from_the_command_line(installation: Installation) -> None:
    loaded = installation.materialize("flights_landing,flights", "--partition-range", f"{FIRST}...{SECOND}")

    assert loaded.returncode == 0, loaded.stderr
    assert installation.query("select count(*) from flights") == [(ROWS[FIRST] + ROWS[SECOND],)]
    events = "select partition, count(*) from dagster.event_logs where asset_key = '[\"flights\"]'"
    materializations = f"{events} and dagster_event_type = 'ASSET_MATERIALIZATION' group by 1 order by 1"
    assert installation.query(materializations) == [(FIRST, 1), (SECOND, 1)]

    verify = ("job", "execute", "-m", "pipeline.definitions", "-j", "flights_verify")
    assert installation.dagster(*verify).returncode == 0
    installation.query("delete from flights where day = 2 and flight = (select min(flight) from flights where day = 2)")
    changed = installation.dagster(*verify)
    assert changed.returncode == 1
    assert (
        f"1 of 2 published partitions are not as the ledger has them\n{SECOND}: every_row_accounted_for"
        in changed.stderr
    )


def test_a_static_key_and_one_of_two_dimensions_are_loaded_from_the_command_line(installation: Installation) -> None:
    landing = installation.home / "landing"
    write_sales(landing, "north", sales(range(9), region="north"))
    write_sales(landing, f"south/{DAY}", sales(range(5), region="south"))
    for table, key, rows in (("by_region", "north", 9), ("by_day_and_region", f"{DAY}|south", 5)):
        command = ("asset", "materialize", "-m", "pipeline_tests.support.definitions", "--select", table)
        loaded = installation.dagster(*command, "--partition", key)
        assert loaded.returncode == 0, loaded.stderr
        assert installation.query(f"select count(*) from {table}") == [(rows,)]
    materialized = (
        "select partition from dagster.event_logs where dagster_event_type = 'ASSET_MATERIALIZATION' order by id"
    )
    assert installation.query(materialized) == [("north",), (f"{DAY}|south",)]


@pytest.mark.slow
@pytest.mark.parametrize("action", ["exit0", "sigkill"])
def test_a_step_that_ends_before_it_has_published_is_red_whatever_its_exit_code(
    installation: Installation, action: str
) -> None:
    installation.failpoints = f"before_publish={action}"
    assert installation.materialize("flights_landing,flights", "--partition", FIRST).returncode != 0
    assert installation.query("select count(*) from flights") == [(0,)]
    materialized = "select count(*) from dagster.event_logs where asset_key = '[\"flights\"]' and dagster_event_type = "
    assert installation.query(f"{materialized} 'ASSET_MATERIALIZATION'") == [(0,)]

    installation.failpoints = ""
    assert installation.materialize("flights", "--partition", FIRST).returncode == 0
    assert installation.query("select count(*) from flights") == [(ROWS[FIRST],)]
    assert installation.query("select state, epoch from rowledger.load") == [("published", 2)]


def test_first_starts_at_the_same_time_do_not_disturb_each_other(installation: Installation) -> None:
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "pipeline.definitions"]
    starts = [
        subprocess.Popen(
            [*command, "--select", "flights_landing", "--partition", day],
            cwd=installation.folder,
            env=installation.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for day in ROWS
    ]

    outputs = [start.communicate(timeout=COMMAND_TIMEOUT_S)[0] for start in starts]

    assert [start.returncode for start in starts] == [0, 0, 0], "\n".join(outputs)
    assert "Retrying" not in "".join(outputs)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone:hunter2@127.0.0.1:1/nowhere",
        "mysql://someone:hunter2@127.0.0.1/nowhere",
    ],
)
def test_a_wrong_database_url_gets_one_line_without_the_password(installation: Installation, url: str) -> None:
    installation.url = url

    refused = installation.materialize("flights", "--partition", FIRST)

    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "ROWLEDGER_DATABASE_URL" in line
    assert "hunter2" not in line


def test_in_a_backfill_of_three_days_the_bad_one_is_red_and_two_are_green(installation: Installation) -> None:
    landed = installation.materialize("flights_landing", "--partition-range", f"{FIRST}...{THIRD}")
    assert landed.returncode == 0, landed.stderr
    file = installation.home / "landing" / "flights" / f"{SECOND}.parquet"
    file.write_bytes(file.read_bytes()[:-100])

    with dagster_dev(installation) as graphql:
        variables = {"p": {"assetSelection": [{"path": ["flights"]}], "partitionNames": list(ROWS)}}
        launched = graphql(
            "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {"
            " ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
            variables,
        )
        backfill_id = launched["launchPartitionBackfill"]["backfillId"]
        backfill = wait_for(lambda: ended_backfill(graphql, backfill_id))
        asset = graphql(
            '{ assetNodeOrError(assetKey: {path: ["flights"]}) { ... on AssetNode { assetPartitionStatuses {'
            " ... on TimePartitionStatuses { ranges { startKey endKey status } } } } } }"
        )

    assert backfill["status"] == "COMPLETED_FAILED"
    assert [run["status"] for run in backfill["runs"]] == ["FAILURE"]
    assert asset["assetNodeOrError"]["assetPartitionStatuses"]["ranges"] == [
        {"startKey": FIRST, "endKey": FIRST, "status": "MATERIALIZED"},
        {"startKey": SECOND, "endKey": SECOND, "status": "FAILED"},
        {"startKey": THIRD, "endKey": THIRD, "status": "MATERIALIZED"},
    ]
    assert installation.query("select count(*) from flights") == [(ROWS[FIRST] + ROWS[THIRD],)]


_AT_WORK = (
    "select 1 from pg_stat_activity where application_name like 'rowledger worker%' and xact_start is not null "
    "and datname = current_database()"
)
_GONE_S = 10  # what a run that was ended from outside may take to be gone, with its processes and its backends


def _everything_is_gone(installation: Installation, processes: list[psutil.Process]) -> bool | None:
    left = [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    sessions = installation.query(
        "select application_name from pg_stat_activity where application_name like 'rowledger%'"
        " and datname = current_database()"
    )
    return True if not left and not sessions else None


def _workers(parent: int) -> list[psutil.Process]:
    children = psutil.Process(parent).children(recursive=True)
    return [child for child in children if "rowledger.workers.process" in child.cmdline()]


def _assert_a_rerun_resumes(installation: Installation) -> None:
    assert installation.query("select count(*) from rowledger.lease") == [(0,)]
    assert installation.query("select count(*) from flights") == [(0,)]
    installation.failpoints = ""
    assert installation.materialize("flights", "--partition", FIRST).returncode == 0
    assert installation.query("select count(*) from flights") == [(ROWS[FIRST],)]
    assert installation.query("select state, epoch from rowledger.load") == [("published", 2)]


@pytest.mark.slow
def test_a_run_terminated_by_the_api_is_gone_soon_with_its_workers_and_backends(installation: Installation) -> None:
    assert installation.materialize("flights_landing", "--partition", FIRST).returncode == 0
    installation.failpoints = "mid_copy=sleep"
    with dagster_dev(installation) as graphql:
        variables = {"p": {"assetSelection": [{"path": ["flights"]}], "partitionNames": [FIRST]}}
        graphql(
            "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {"
            " ... on LaunchBackfillSuccess { backfillId } } }",
            variables,
        )
        wait_for(lambda: installation.query(_AT_WORK) or None)
        workers = _workers(os.getpid())
        assert workers
        run_id = graphql("{ runsOrError(limit: 1) { ... on Runs { results { runId } } } }")["runsOrError"]["results"][0]
        started = time.monotonic()
        graphql(
            "mutation($id: String!) { terminateRun(runId: $id) { ... on TerminateRunSuccess { run { runId } } } }",
            {"id": run_id["runId"]},
        )
        wait_for(lambda: _everything_is_gone(installation, workers))
        assert time.monotonic() - started < _GONE_S
        status = "{ runsOrError(limit: 1) { ... on Runs { results { status } } } }"
        wait_for(lambda: graphql(status)["runsOrError"]["results"][0]["status"] == "CANCELED" or None)
    _assert_a_rerun_resumes(installation)


@pytest.mark.slow
def test_a_step_that_loses_its_run_worker_cancels_itself(installation: Installation) -> None:
    assert installation.materialize("flights_landing", "--partition", FIRST).returncode == 0
    installation.failpoints = "mid_copy=sleep"
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "pipeline.definitions"]
    run_worker = subprocess.Popen(
        [*command, "--select", "flights", "--partition", FIRST],
        cwd=installation.folder,
        env=installation.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: installation.query(_AT_WORK) or None)
    below = psutil.Process(run_worker.pid).children(recursive=True)
    assert [child for child in below if "rowledger.workers.process" in child.cmdline()]
    started = time.monotonic()
    run_worker.kill()
    run_worker.wait(30)
    assert not list(installation.folder.glob(".tmp_dagster_home_*"))
    wait_for(lambda: _everything_is_gone(installation, below))
    assert time.monotonic() - started < _GONE_S
    _assert_a_rerun_resumes(installation)


def ended_backfill(graphql: GraphQL, backfill_id: str) -> dict[str, Any] | None:
    found = graphql(
        "query($id: String!) { partitionBackfillOrError(backfillId: $id) {"
        " ... on PartitionBackfill { status runs(limit: 5) { status } } } }",
        {"id": backfill_id},
    )["partitionBackfillOrError"]
    return None if found["status"] == "REQUESTED" else found
