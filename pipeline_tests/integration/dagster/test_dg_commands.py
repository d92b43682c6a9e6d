"""The commands of `dg` in a project with tables in YAML: scaffold, check, list."""

import itertools
import json
from pathlib import Path

import pytest

from pipeline_tests.support.dagster_projects import COMPONENT, Project, new_project
from pipeline_tests.support.database import fetch_value

pytestmark = pytest.mark.timeout(900)  # up to four commands, each of which loads Dagster

_numbers = itertools.count()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return new_project(tmp_path, f"depot_{next(_numbers)}", monkeypatch)


def test_a_table_scaffolded_from_a_file_is_checked_listed_and_launched(project: Project, database: str) -> None:
    (project.root / "weather.csv").write_text("Day;Station Code\n2024-01-01;EDDB\n2024-01-02;EDDB\n", encoding="utf-8")

    scaffolded = project.dg("scaffold", "defs", COMPONENT, "weather", "--from-file", "weather.csv")
    checked = project.dg("check", "defs")  # which also checks the YAML
    listed = project.dg("list", "defs", "--json")
    launched = project.dg("launch", "--assets", "weather", ROWLEDGER_DATABASE_URL=database)

    assert scaffolded.returncode == 0, scaffolded.stderr
    assert "table weather: 2 rows, 2 columns" in scaffolded.stdout
    assert "dead letters: 0 of 2 rows" in scaffolded.stdout
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "All component YAML validated successfully." in checked.stdout
    assert "All definitions loaded successfully." in checked.stdout
    [asset] = json.loads(listed.stdout)["assets"]
    assert (asset["asset_key"], asset["kinds"]) == ("weather", ["postgres"])
    assert launched.returncode == 0, launched.stdout + launched.stderr
    assert fetch_value(database, "select count(*) from public.weather") == 2


def test_a_table_of_a_dated_file_has_partitions_and_is_launched_as_printed(project: Project, database: str) -> None:
    (project.root / "sales").mkdir()
    for day in ("2024-01-01", "2024-01-02"):
        rows = "".join(f"{n},{day}T0{n}:00:00\n" for n in range(3))
        (project.root / "sales" / f"{day}.csv").write_text(f"id,sold_at\n{rows}", encoding="utf-8")

    scaffolded = project.dg("scaffold", "defs", COMPONENT, "sales", "--from-file", "sales/2024-01-01.csv")
    assert scaffolded.returncode == 0, scaffolded.stderr
    [command] = [line for line in scaffolded.stdout.splitlines() if line.startswith("to load it: dg ")]
    printed = command.removeprefix("to load it: dg ").split()
    for arguments in (printed, [argument.replace("2024-01-01", "2024-01-02") for argument in printed]):
        launched = project.dg(*arguments, ROWLEDGER_DATABASE_URL=database)
        assert launched.returncode == 0, launched.stdout + launched.stderr

    assert printed == ["launch", "--assets", "sales", "--partition", "2024-01-01"]
    assert fetch_value(database, "select count(distinct sold_at::date) from public.sales") == 2


def test_a_table_with_all_it_can_have_brings_no_warning_into_a_log(project: Project, database: str) -> None:
    (project.root / "x.csv").write_text("day,n\n2024-01-01,1\n", encoding="utf-8")
    rows = (
        "from datetime import date\nfrom pydantic import BaseModel\nclass Row(BaseModel):\n    day: date\n    n: int\n"
    )
    project.write("../rows.py", rows)
    project.write(
        "counts.py",
        f"""\
import dagster as dg

from {project.name}.rows import Row
from rowledger import CsvFiles, TableSpec
from rowledger.dagster import build_table_defs

counts = build_table_defs(
    TableSpec(name="counts", row=Row, source=CsvFiles(path="x.csv"), partition_by="day"),
    partitions_def=dg.DailyPartitionsDefinition("2024-01-01"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    owners=["team:data"], jobs=True, schedule=True, sensor=True,
)
""",
    )

    launched = project.dg("launch", "--assets", "counts", "--partition", "2024-01-01", ROWLEDGER_DATABASE_URL=database)

    assert launched.returncode == 0, launched.stdout + launched.stderr
    assert "Warning" not in launched.stdout + launched.stderr


def test_the_component_is_listed_with_what_it_is(project: Project) -> None:
    listed = project.dg("list", "components", "--package", "rowledger", "--json")

    assert listed.returncode == 0, listed.stderr
    [component] = json.loads(listed.stdout)["items"]
    assert component["key"] == COMPONENT
    assert component["summary"].startswith("A table of PostgreSQL that is loaded guarded")


def test_check_yaml_names_the_line_of_each_mistake_in_one_table(project: Project) -> None:
    project.table(
        """\
  columns:
    id: bigin
    note: {type: text, nulable: true}
    amount: {type: "numerik(10,2)"}
  source: {type: cvs, path: x.csv}
  limits: {workers: none}
  partitions: {type: daily}
"""
    )

    checked = project.dg("check", "yaml")

    assert checked.returncode == 1
    for line, told in [
        (5, "attributes.columns.id 'bigin' is not one of ['bigint',"),
        (6, "attributes.columns.note.nulable Additional properties are not allowed"),
        (7, "attributes.columns.amount.type 'numerik(10,2)' is not one of ['bigint',"),
        (8, "attributes.source.type 'cvs' is not one of ['csv',"),
        (9, "attributes.limits.workers 'none' is not of type 'integer'"),
        (10, "attributes.partitions 'start' is a required property"),
    ]:
        assert f"defs.yaml:{line} - {COMPONENT} {told}" in checked.stdout


def test_check_defs_names_all_mistaken_types_of_a_table_at_once_beside_other_mistakes(project: Project) -> None:
    project.table(
        """\
  columns:
    id: intt
    amount: {type: "numerik(10,2)"}
    note: {type: text, nulable: true}
  source: {type: csv, path: x.csv}
"""
    )

    checked = project.dg("check", "defs", "--no-check-yaml")

    assert checked.returncode == 1
    told = checked.stdout + checked.stderr
    for line, field, message in [
        (5, "id.type", "intt is no type of PostgreSQL; is int meant? The types are bigint, "),
        (6, "amount.type", "numerik(10,2) is no type of PostgreSQL; is numeric meant? The types are bigint, "),
        (7, "note.nulable", "Extra inputs are not permitted"),
    ]:
        place = told.index(f"attributes.columns.{field} at ")
        assert told[place:].partition("\n")[0].endswith(f"weather/defs.yaml:{line}`")
        assert told[place:].splitlines()[1].lstrip().removeprefix("Value error, ").startswith(message)


def test_check_defs_shows_no_frames_of_the_reader_below_a_mistake(project: Project) -> None:
    project.table("  columns: {id: {type: text, ge: 1}}\n  source: {type: csv, path: x.csv}\n")

    checked = project.dg("check", "defs")

    assert checked.returncode == 1
    told = checked.stdout + checked.stderr
    assert "defs.yaml:4 - attributes.columns.id: ge goes with numbers, dates and times, not with text" in told
    assert told.count("/rowledger/") <= 2, told
