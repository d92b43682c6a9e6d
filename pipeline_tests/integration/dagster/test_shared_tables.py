"""Two assets of one table: the second one's run fails before it writes a row, however the table is declared."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import BaseModel

from pipeline_tests.support.dagster_projects import Project, new_project
from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import FAST
from rowledger import CsvFiles, TableSpec
from rowledger.dagster import (
    GuardedWriter,
    RowledgerDatabase,
    RowledgerIOManager,
    build_table_defs,
    rowledger_asset,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
]
_numbers = itertools.count()
TARGET = "lake.shared"


class Reading(BaseModel):
    place: str
    value: int


ROWS = [{"place": "north", "value": 1}]


def _of_python(name: str, database: str, file: Path) -> dg.Definitions:
    spec = TableSpec(name=name, row=Reading, source=CsvFiles(path=str(file)), target=TARGET)
    return build_table_defs(spec, database=RowledgerDatabase(url=database), writer=GuardedWriter(**FAST))


def _returned(name: str, database: str, _file: Path) -> dg.Definitions:
    @rowledger_asset(
        name=name,
        row=Reading,
        target=TARGET,
        database=RowledgerDatabase(url=database),
        writer=GuardedWriter(**FAST),
    )
    def rows() -> list[dict[str, Any]]:
        return ROWS

    return dg.Definitions([rows])


def _of_io_manager(name: str, database: str, _file: Path) -> dg.Definitions:
    @dg.asset(name=name, metadata={"rowledger/row": f"{__name__}:Reading", "rowledger/target": TARGET})
    def rows() -> list[dict[str, Any]]:
        return ROWS

    manager = RowledgerIOManager(database=RowledgerDatabase(url=database), writer=GuardedWriter(**FAST))
    return dg.Definitions([rows], resources={"io_manager": manager})


@pytest.mark.parametrize("defs_of", [_of_python, _returned, _of_io_manager])
def test_a_second_asset_cannot_load_into_the_target_of_the_first(
    database: str, tmp_path: Path, defs_of: Callable[[str, str, Path], dg.Definitions]
) -> None:
    file = tmp_path / "readings.csv"
    file.write_text("place,value\nnorth,1\n", encoding="utf-8")
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:

        def run(name: str) -> dg.ExecuteInProcessResult:
            defs = defs_of(name, database, file)
            job = defs.resolve_implicit_global_asset_job_def()
            return job.execute_in_process(instance=instance, raise_on_error=False)

        assert run("first").success
        refused = run("second")

        assert not refused.success
        (failed,) = refused.get_step_failure_events()
        said = failed.step_failure_data.user_failure_data
        assert said is not None
        assert f"table second: its target {TARGET} has rows that table first has loaded" in (said.description or "")
        assert run("first").success
    assert fetch(database, "select distinct table_name, target from rowledger.load") == [("first", TARGET)]


_YAML = """\
  name: {name}
  target: {target}
  columns: {{place: text, value: bigint}}
  source: {{type: csv, path: "{file}"}}
"""
_ASSETS_OF_ONE_NAME = """\
import dagster as dg
from pydantic import BaseModel

from rowledger.dagster import RowledgerIOManager


class Reading(BaseModel):
    place: str


def _asset(name):
    @dg.asset(name=name, metadata={"rowledger/name": "readings"}, io_manager_key="tables")
    def rows() -> list[Reading]:
        return [Reading(place=name)]

    return rows


@dg.definitions
def defs():
    return dg.Definitions([_asset("hourly"), _asset("daily")], resources={"tables": RowledgerIOManager()})
"""


def test_two_tables_in_yaml_and_two_assets_of_one_name(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project: Project = new_project(tmp_path, f"shared_{next(_numbers)}", monkeypatch)
    file = tmp_path / "readings.csv"
    file.write_text("place,value\nnorth,1\n", encoding="utf-8")
    for name, target in (("first", TARGET), ("second", TARGET)):
        project.table(_YAML.format(name=name, target=target, file=file), folder=name)
    project.write("assets.py", _ASSETS_OF_ONE_NAME)

    def launch(asset: str) -> tuple[int, str]:
        done = project.dg("launch", "--assets", asset, ROWLEDGER_DATABASE_URL=database)
        return done.returncode, done.stdout + done.stderr

    assert launch("first")[0] == 0
    code, said = launch("second")
    assert (code, f"its target {TARGET} has rows that table first has loaded" in said) == (1, True), said
    code, said = launch("hourly")
    assert code == 0, said
    code, said = launch("daily")
    assert (code, "table readings: it is also the table of asset hourly" in said) == (1, True), said
    assert launch("hourly")[0] == 0
