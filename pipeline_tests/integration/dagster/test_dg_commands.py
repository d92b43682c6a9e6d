"""`dg`, which succeeds the command `dagster`, in this repository."""

from pathlib import Path

import pytest

from pipeline_tests.support.installation import Installation, dagster_dev

DAY, ROWS = "2013-01-01", 842


@pytest.fixture
def installation(tmp_path: Path, database: str) -> Installation:
    return Installation(tmp_path, database)


def test_the_definitions_are_checked_and_listed(installation: Installation) -> None:
    checked = installation.dg("check", "defs")
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.rstrip().endswith("All definitions loaded successfully.")
    listed = installation.dg("list", "defs", "--json")
    assert listed.returncode == 0, listed.stderr
    assert '"flights_landing"' in listed.stdout


def test_a_launch_ends_with_the_exit_code_of_its_run(installation: Installation) -> None:
    refused = installation.dg("launch", "--assets", "flights", "--partition", DAY)
    assert refused.returncode == 1
    assert refused.stderr.endswith("Error: Materialization failed.\n")
    launched = installation.dg("launch", "--assets", "flights_landing,flights", "--partition", DAY)
    assert launched.returncode == 0, launched.stderr
    assert installation.query("select count(*) from flights") == [(ROWS,)]


def test_its_server_serves_the_code_location_and_keeps_runs_in_the_same_storage(installation: Installation) -> None:
    with dagster_dev(installation, installation.dg_program(), "dev") as graphql:
        told = graphql(
            "{ instance { info } workspaceOrError { ... on Workspace { locationEntries { name loadStatus"
            " locationOrLoadError { ... on RepositoryLocation { dagsterLibraryVersions { name version } } } } } } }"
        )
    (location,) = told["workspaceOrError"]["locationEntries"]
    assert (location["name"], location["loadStatus"]) == ("rowledger", "LOADED")
    libraries = {one["name"] for one in location["locationOrLoadError"]["dagsterLibraryVersions"]}
    assert {"dagster", "rowledger"} <= libraries
    assert "PooledEventLog" in told["instance"]["info"]
