"""Backfills by Dagster's daemon, of tables whose policy gives each run a few partitions."""

import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline_tests.support.dagster_projects import Project, new_project
from pipeline_tests.support.installation import GraphQL, Installation, dagster_dev, wait_for

pytestmark = pytest.mark.timeout(900)  # a daemon, which loads Dagster

_DAYS = [f"2024-01-0{day}" for day in range(1, 6)]
_RANGES = [("2024-01-01", "2024-01-02"), ("2024-01-03", "2024-01-04"), ("2024-01-05", "2024-01-05")]
_IN_YAML = """\
  columns: {day: date, n: bigint}
  source: {type: csv, path: "%s/{partition_key}.csv"}
  partition_by: day
  partitions: {type: daily, start: 2024-01-01, end: 2024-01-06}
  backfill_policy: {type: multi_run, max_partitions_per_run: 2}
  pool: warehouse
"""
_IN_PYTHON = """\
import dagster as dg

from {package}.rows import Row
from rowledger import CsvFiles, TableSpec
from rowledger.dagster import build_table_defs

in_python = build_table_defs(
    TableSpec(name="in_python", row=Row, source=CsvFiles(path="{landing}/{{partition_key}}.csv"), partition_by="day"),
    partitions_def=dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-06"),
    backfill_policy=dg.BackfillPolicy.multi_run(2),
    pool="warehouse",
)
"""
_RETURNED = """\
import dagster as dg
import polars as pl

from {package}.rows import Row
from rowledger.dagster import rowledger_asset


@rowledger_asset(
    row=Row,
    partition_by="day",
    partitions_def=dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-06"),
    backfill_policy=dg.BackfillPolicy.multi_run(2),
    pool="warehouse",
)
def returned(context: dg.AssetExecutionContext) -> pl.DataFrame:
    return pl.concat(
        pl.read_csv(f"{landing}/{{key}}.csv", schema={{"day": pl.Date, "n": pl.Int64}}) for key in context.partition_keys
    )
"""
_ROWS = """\
from datetime import date

from pydantic import BaseModel


class Row(BaseModel):
    day: date
    n: int
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with a table in YAML, one in Python and an asset that returns its rows."""
    project = new_project(tmp_path / "project", "backfilled", monkeypatch)
    landing = tmp_path / "landing"
    landing.mkdir()
    for number, day in enumerate(_DAYS, start=1):
        (landing / f"{day}.csv").write_text("day,n\n" + f"{day},{number}\n" * number, encoding="utf-8")
    project.table(_IN_YAML % landing, folder="in_yaml")
    project.write("../rows.py", _ROWS)
    project.write("in_python.py", _IN_PYTHON.format(package=project.name, landing=landing))
    project.write("returned.py", _RETURNED.format(package=project.name, landing=landing))
    return project


@pytest.mark.slow
def test_a_backfill_of_two_partitions_a_run_loads_each_run_s_range_whatever_declares_the_table(
    project: Project, database: str, tmp_path: Path
) -> None:
    installation = Installation(tmp_path, database)
    command = (sys.executable, "-m", "dagster", "dev", "-m", f"{project.name}.definitions", "-d", project.root / "src")
    tables = ["in_yaml", "in_python", "returned"]
    with dagster_dev(installation, *command) as graphql:
        backfills = {table: _launched(graphql, table) for table in tables}
        ended = {table: wait_for(lambda id_=id_: _ended(graphql, id_)) for table, id_ in backfills.items()}
        pools = {table: _pools(graphql, table) for table in tables}

    for table in tables:
        assert ended[table]["status"] == "COMPLETED_SUCCESS"
        assert sorted(map(_range_of, ended[table]["runs"])) == _RANGES
        assert {run["status"] for run in ended[table]["runs"]} == {"SUCCESS"}
        loads = installation.query(
            "select run_id, array_agg(partition_key order by partition_key) from rowledger.load "
            f"where table_name = '{table}' and state = 'published' group by run_id order by 2"
        )
        assert [keys for _, keys in loads] == [_DAYS[:2], _DAYS[2:4], _DAYS[4:]]
        assert {run for run, _ in loads} == {run["runId"] for run in ended[table]["runs"]}
        counted = installation.query(f"select day::text, count(*)::integer, min(n) from {table} group by 1 order by 1")
        assert counted == [(day, number, number) for number, day in enumerate(_DAYS, start=1)]
        assert pools[table] == ["warehouse"]


def _launched(graphql: GraphQL, table: str) -> str:
    launched = graphql(
        "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {"
        " ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
        {"p": {"assetSelection": [{"path": [table]}], "partitionNames": _DAYS}},
    )
    return str(launched["launchPartitionBackfill"]["backfillId"])


def _ended(graphql: GraphQL, backfill_id: str) -> dict[str, Any] | None:
    found: dict[str, Any] = graphql(
        "query($id: String!) { partitionBackfillOrError(backfillId: $id) {"
        " ... on PartitionBackfill { status runs(limit: 9) { runId status tags { key value } } } } }",
        {"id": backfill_id},
    )["partitionBackfillOrError"]
    return None if found["status"] in ("REQUESTED", "COMPLETING") else found


def _range_of(run: dict[str, Any]) -> tuple[str, str]:
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    own = tags.get("dagster/partition")
    return tags.get("dagster/asset_partition_range_start", own), tags.get("dagster/asset_partition_range_end", own)


def _pools(graphql: GraphQL, table: str) -> list[str]:
    found = graphql(
        "query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { pools } } }",
        {"key": {"path": [table]}},
    )
    return list(found["assetNodeOrError"]["pools"])
