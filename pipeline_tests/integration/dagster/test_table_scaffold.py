"""What is scaffolded for a table: YAML that loads, and a row model that fits the file."""

import itertools
from pathlib import Path

import click
import dagster as dg
import pytest
import yaml
from jsonschema import Draft202012Validator

from pipeline_tests.support.dagster_projects import COMPONENT, Project, new_project
from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from rowledger.dagster import RowledgerTableComponent, yaml_sources
from rowledger.dagster.scaffold import ScaffoldParams, TableScaffolder
from rowledger.spec import table

pytestmark = [  # what Dagster does when it loads components
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
    pytest.mark.filterwarnings("ignore:Parameter `execution_type`"),
    pytest.mark.filterwarnings("ignore:Function `load_definitions_from_module"),
]
_numbers = itertools.count()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return new_project(tmp_path, f"store_{next(_numbers)}", monkeypatch)


def _scaffold(project: Project, folder: str, file: Path | None, *, append: bool = False) -> None:
    target = project.defs / folder
    target.mkdir(exist_ok=True)
    request = dg.ScaffoldRequest(
        type_name=COMPONENT,
        target_path=target / "defs.yaml" if append else target,
        scaffold_format="yaml",
        project_root=project.root,
        params=ScaffoldParams(from_file=None if file is None else str(file)),
        append=append,
    )
    TableScaffolder().scaffold(request)


def _component(project: Project, folder: str) -> RowledgerTableComponent:
    tree = dg.ComponentTree.for_project(project.root)
    return tree.load_component(folder, expected_type=RowledgerTableComponent)


def test_the_scaffolded_table_loads_the_file_that_it_was_made_of(
    project: Project, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project.root / "weather.csv"
    file.write_text("Day;Station Code\n2024-01-01;EDDB\n2024-01-02;EDDB\n", encoding="utf-8")
    _scaffold(project, "weather", file)
    monkeypatch.chdir(project.root)

    spec = _component(project, "weather").table_spec(project.defs / "weather")
    report = load_one(database, spec, project.root, "all")

    assert yaml.safe_load((project.defs / "weather" / "defs.yaml").read_text())["attributes"]["source"] == {
        "type": "csv",
        "path": "weather.csv",
        "delimiter": ";",
    }
    assert report.error is None
    assert spec.key == ("station_code", "day")
    assert [
        tuple(row) for row in fetch(database, "select day::text, station_code from public.weather order by day")
    ] == [
        ("2024-01-01", "EDDB"),
        ("2024-01-02", "EDDB"),
    ]


def test_the_example_that_is_scaffolded_without_a_file_is_valid_and_loads(project: Project) -> None:
    _scaffold(project, "cold-store", None)

    attributes = yaml.safe_load((project.defs / "cold-store" / "defs.yaml").read_text(encoding="utf-8"))["attributes"]
    defs = dg.load_from_defs_folder(path_within_project=project.root)

    # What `dg check yaml` does, which the tests of dg's commands run for another table.
    schema = RowledgerTableComponent.model().model_json_schema()
    assert list(Draft202012Validator(schema).iter_errors(attributes)) == []
    # The folder's name cannot be a table's.
    assert [spec.key for spec in defs.resolve_all_asset_specs()] == [dg.AssetKey("cold_store")]


def test_each_setting_that_the_file_needs_is_in_the_yaml(
    project: Project, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project.root / "prices.csv"
    lines = "".join(f"{n};1.{n:03},5;{n % 28 + 1:02}.03.2024\n" for n in range(100, 160))
    file.write_text(f"Nr;Preis;Tag\n{lines}", encoding="utf-8")
    _scaffold(project, "prices", file)
    monkeypatch.chdir(project.root)

    spec = _component(project, "prices").table_spec(project.defs / "prices")
    report = load_one(database, spec, project.root, "all")

    assert report.error is None
    assert (report.counts.written_rows, report.counts.dead_lettered_rows) == (60, 0)
    [row] = fetch(database, "select preis::text, tag::text from public.prices where nr = 100")
    assert tuple(row) == ("1100.5", "2024-03-17")


@pytest.mark.parametrize(
    ("path", "moment", "template", "kind", "key"),
    [
        ("a/sales_2024-01.csv", "2024-01-31", "a/sales_{lower:%Y-%m}.csv", "monthly", "2024-01-01"),
        ("a/sales_2024.csv", "2024-12-31", "a/sales_{lower:%Y}.csv", "time_window", "2024-01-01"),
        ("sales/2024-01-01T05.csv", "2024-01-01 05:59", "sales/{lower:%Y-%m-%dT%H}.csv", "hourly", "2024-01-01-05:00"),
    ],
)
def test_a_file_with_a_date_in_its_path_is_one_partition_of_the_table(
    project: Project, path: str, moment: str, template: str, kind: str, key: str
) -> None:
    file = project.root / path
    file.parent.mkdir()
    file.write_text(f"id,at\n1,{moment}\n2,{moment}\n", encoding="utf-8")
    _scaffold(project, "sales", file)

    attributes = yaml.safe_load((project.defs / "sales" / "defs.yaml").read_text())["attributes"]
    component = _component(project, "sales")

    assert (attributes["source"]["path"], attributes["partition_by"], attributes["partitions"]["type"]) == (
        template,
        "at",
        kind,
    )
    assert component.partitions is not None
    assert component.partitions.get_first_partition_key() == key
    assert component.table_spec(project.defs / "sales").partition_by == "at"


def test_a_file_outside_of_the_project_is_named_in_full(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("a [folder] {with} braces") / "rows {{1}}.ndjson"
    file.write_text('{"id": 1}\n{"id": 2}\n', encoding="utf-8")

    _scaffold(project, "rows", file)
    source = _component(project, "rows").source

    assert source.placeholders == frozenset()
    assert _component(project, "rows").table_spec(project.defs / "rows").source == source


def test_a_second_table_is_added_to_a_file_with_a_row_model_of_its_own(project: Project) -> None:
    for name in ("first", "second"):
        (project.root / f"{name}.csv").write_text("id\n1\n2\n", encoding="utf-8")
    _scaffold(project, "tables", project.root / "first.csv")
    _scaffold(project, "tables", project.root / "second.csv", append=True)

    defs = dg.load_from_defs_folder(path_within_project=project.root)

    assert {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()} == {"tables", "second"}


def test_a_budget_is_written_where_the_file_has_more_refused_rows_than_the_default_allows(project: Project) -> None:
    file = project.root / "ragged.csv"
    file.write_text(
        "id,note\n" + "".join(f"{n},x{',y' if n % 10 == 0 else ''}\n" for n in range(200)), encoding="utf-8"
    )

    _scaffold(project, "ragged", file)
    budget = _component(project, "ragged").dead_letters

    assert budget is not None
    assert budget.allowed_rows(200) >= 20


def test_a_row_model_is_never_overwritten(project: Project) -> None:
    (project.root / "rows.csv").write_text("id\n1\n", encoding="utf-8")
    kept = project.write("weather/rows.py", "# mine\n")

    with pytest.raises(click.ClickException, match=r"rows\.py: exists already"):
        _scaffold(project, "weather", project.root / "rows.csv")

    assert kept.read_text(encoding="utf-8") == "# mine\n"
    assert not (project.defs / "weather" / "defs.yaml").exists()


def test_a_file_that_no_source_reads_is_refused_in_one_line(project: Project) -> None:
    with pytest.raises(click.ClickException, match=r"nowhere\.csv") as caught:
        _scaffold(project, "weather", project.root / "nowhere.csv")

    assert "\n" not in caught.value.message
    assert not (project.defs / "weather").exists(), "the next try would be refused because of it"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("days.csv", "day,mm\n2024-01-01,3\n", "csv"),
        ("days.ndjson", '{"day": "2024-01-01", "mm": 3}\n', "ndjson"),
        ("days.json", '[\n {"day": "2024-01-01",\n  "mm": 3}\n]\n', "json"),
    ],
)
def test_a_table_of_each_form_of_text_can_be_used_as_it_is_scaffolded(
    project: Project, name: str, content: str, kind: str
) -> None:
    (project.root / name).write_text(content, encoding="utf-8")
    _scaffold(project, "days", project.root / name)

    spec = _component(project, "days").table_spec(project.defs / "days")

    assert getattr(spec.source, "kind", None) == kind


def test_each_source_of_the_library_can_be_named_in_yaml_but_that_of_given_rows() -> None:
    names = {name for name, _ in table._SOURCES}
    assert set(yaml_sources._SOURCES) == names - {"given"}
