"""Tables in YAML: each attribute reaches the definitions, and a mistake names file, line and field."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipeline_tests.support import database as databases
from pipeline_tests.support.dagster_projects import COMPONENT, Project, new_project
from rowledger.dagster import GuardedWriter, RowledgerDatabase, RowledgerTableComponent
from rowledger.settings import settings
from rowledger.sources.csv import CsvFiles
from rowledger.spec.partition import Partition
from rowledger.spec.source import Source
from rowledger.spec.table import TableSpec

pytestmark = [  # what Dagster does when it loads components
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
    pytest.mark.filterwarnings("ignore:Parameter `execution_type`"),
    pytest.mark.filterwarnings("ignore:Function `load_definitions_from_module"),
]
_numbers = itertools.count()
ROWS = """\
from datetime import date

from pydantic import BaseModel, Field


class Weather(BaseModel):
    '''Weather of a station on a day.'''

    day: date
    station: str = Field(description="ICAO code")
"""
MINIMAL = """\
  row: .rows.Weather
  source: {type: csv, path: "{landing}/weather.csv"}
"""
WITH_DAYS = """\
  row: .rows.Weather
  source: {type: csv, path: "{landing}/{partition_key}.csv"}
  partition_by: day
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = new_project(tmp_path, f"shop_{next(_numbers)}", monkeypatch)
    project.write("weather/rows.py", ROWS)
    return project


def _component(project: Project, attributes: str) -> RowledgerTableComponent:
    project.table(attributes)
    tree = dg.ComponentTree.for_project(project.root)
    return tree.load_component("weather", expected_type=RowledgerTableComponent)


def _spec(project: Project, attributes: str) -> TableSpec:
    return _component(project, attributes).table_spec(project.defs / "weather")


def _mistake(project: Project, attributes: str) -> str:
    """What is said of the file, without the lines of it that follow."""
    project.table(attributes)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - Dagster wraps it in classes of its own
        project.load().resolve_all_asset_specs()
    error: BaseException = caught.value
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def test_a_minimal_table_is_an_asset_named_after_its_folder(project: Project) -> None:
    project.table(MINIMAL)

    [spec] = project.load().resolve_all_asset_specs()

    assert spec.key == dg.AssetKey("weather")
    assert spec.description == "Weather of a station on a day."
    assert spec.partitions_def is None
    references = spec.metadata["dagster/code_references"].code_references
    assert [Path(reference.file_path).name for reference in references] == ["rows.py", "defs.yaml"]


def test_every_attribute_of_a_spec_reaches_it(project: Project) -> None:
    project.write("weather/cleaning.py", "def clean(frame):\n    return frame\n")

    spec = _spec(
        project,
        WITH_DAYS.replace(
            'source: {type: csv, path: "{landing}/{partition_key}.csv"}',
            'source: {type: csv, path: "{landing}/{partition_key}.csv", delimiter: ";", nulls: ["None", "1", "1,2"], '
            "skip_lines: 2}",
        )
        + """\
  name: climate
  description: Days
  target: raw.weather
  key: [day, station]
  write_mode: upsert
  dead_letters: {rows_max: 7, share_max: 0.5}
  transform: {type: frame, function: .cleaning.clean}
  drift: discard_value
  sensitive: station
  partitions: {type: daily, start: 2024-01-01}
""",
    )

    assert spec.source == CsvFiles(
        path="{landing}/{partition_key}.csv", delimiter=";", nulls=("None", "1", "1,2"), skip_lines=2
    )
    assert (spec.name, str(spec.target), spec.description) == ("climate", "raw.weather", "Days")
    assert (spec.key, spec.sensitive, spec.partition_by) == (("day", "station"), ("station",), "day")
    assert (spec.write_mode, spec.drift) == ("upsert", "discard_value")
    assert (spec.dead_letters.rows_max, spec.dead_letters.share_max) == (7, 0.5)
    assert spec.transform is not None
    assert spec.transform.function.__module__ == f"{project.name}.defs.weather.cleaning"
    assert TableSpec.from_json(spec.as_json()) == spec


SOURCES: list[tuple[str, dict[str, Any]]] = [
    ('{type: csv, path: "{landing}/x.csv", header: false, columns: [day, station]}', {"header": False}),
    ('{type: ndjson, path: "{landing}/x.ndjson", compression: gzip}', {"compression": "gzip"}),
    ('{type: parquet, path: "{landing}/*.parquet", hive: [day]}', {"hive": ("day",)}),
    ('{type: arrow, path: "{landing}/*.arrow", columns_max: 5}', {"columns_max": 5}),
    (
        "{type: sql, query: 'select * from t where d = {partition_key}', url_variable: SHOP_URL}",
        {"url_variable": "SHOP_URL"},
    ),
    ("{type: python, function: .fetching.fetch}", {}),
    ("{type: python, function: '.fetching:fetch', columns_max: 3}", {"columns_max": 3}),
    ("{type: python, function: 'pipeline_tests.integration.dagster.test_yaml_tables:fetch'}", {}),
    ("{type: .fetching.OwnSource, folder: /data}", {"folder": "/data"}),
]


def fetch(partition: Partition) -> list[dict[str, object]]:
    return [{"day": partition.key}]


@pytest.mark.parametrize(("source", "fields"), SOURCES)
def test_each_source_can_be_given_with_its_fields(project: Project, source: str, fields: dict[str, Any]) -> None:
    project.write(
        "weather/fetching.py",
        "from rowledger import CsvFiles\n\n\ndef fetch(partition):\n    yield {}\n\n\n"
        "class OwnSource(CsvFiles):\n    folder: str\n    path: str = 'x'\n",
    )

    spec = _spec(project, f"  row: .rows.Weather\n  source: {source}\n")

    assert isinstance(spec.source, Source)
    assert {name: getattr(spec.source, name) for name in fields} == fields
    assert TableSpec.from_json(spec.as_json()) == spec


UTC_DAYS = dg.DailyPartitionsDefinition("2024-01-01")
PARTITIONS = [
    (
        "{type: hourly, start: 2024-01-01-00:00, minute_offset: 15}",
        dg.HourlyPartitionsDefinition("2024-01-01-00:00", minute_offset=15),
    ),
    (
        "{type: daily, start: 2024-01-01, end: 2024-02-01, timezone: Europe/Berlin, hour_offset: 4, end_offset: 1}",
        dg.DailyPartitionsDefinition("2024-01-01", "2024-02-01", timezone="Europe/Berlin", hour_offset=4, end_offset=1),
    ),
    ("{type: weekly, start: 2024-01-01, day_offset: 1}", dg.WeeklyPartitionsDefinition("2024-01-01", day_offset=1)),
    ('{type: monthly, start: 2024-01, fmt: "%Y-%m"}', dg.MonthlyPartitionsDefinition("2024-01", fmt="%Y-%m")),
    (
        '{type: time_window, start: 2024-01-01, fmt: "%Y-%m-%d", cron_schedule: "0 0 * * 1-5", exclusions: ["0 0 1 * *"]}',
        dg.TimeWindowPartitionsDefinition(
            start="2024-01-01", fmt="%Y-%m-%d", cron_schedule="0 0 * * 1-5", exclusions=["0 0 1 * *"]
        ),
    ),
    ('{type: static, keys: ["1", "None", "1,2", "no"]}', dg.StaticPartitionsDefinition(["1", "None", "1,2", "no"])),
    ("{type: dynamic, name: shops}", dg.DynamicPartitionsDefinition(name="shops")),
    (
        "{type: multi, dimensions: {day: {type: daily, start: 2024-01-01}, station: {type: static, keys: [EDDB, KJFK]}}}",
        dg.MultiPartitionsDefinition({"day": UTC_DAYS, "station": dg.StaticPartitionsDefinition(["EDDB", "KJFK"])}),
    ),
]


@pytest.mark.parametrize(("yaml", "definition"), PARTITIONS)
def test_partitions_of_every_kind_are_those_of_dagster(
    project: Project, yaml: str, definition: dg.PartitionsDefinition
) -> None:
    found = _component(project, f"{MINIMAL}  partitions: {yaml}\n").partitions

    assert found == definition


def test_a_table_of_two_dimensions_loads_its_definitions(project: Project) -> None:
    project.table(
        """\
  row: .rows.Weather
  source: {type: csv, path: "{landing}/{station}/{day}.csv"}
  partition_by: {day: day, station: station}
  partitions:
    type: multi
    dimensions:
      day: {type: daily, start: 2024-01-01}
      station: {type: static, keys: [EDDB, KJFK]}
"""
    )

    [spec] = project.load().resolve_all_asset_specs()

    assert isinstance(spec.partitions_def, dg.MultiPartitionsDefinition)


def test_translation_and_options_reach_the_asset_its_step_and_the_jobs(project: Project) -> None:
    project.table(
        WITH_DAYS
        + """\
  partitions: {type: daily, start: 2024-01-01}
  pool: target_db
  retry_policy: {max_retries: 3, delay: 1.5, backoff: exponential, jitter: plus_minus}
  backfill_policy: {type: multi_run, max_partitions_per_run: 4}
  op_tags: {team: data}
  jobs: true
  schedule: "15 7 * * *"
  sensor: true
  freshness: "0 9 * * *"
  limits: {workers: 3}
  database: warehouse
  translation:
    key_prefix: [raw, noaa]
    group_name: weather
    owners: ["team:data"]
    tags: {tier: 1}
    kinds: [noaa]
    deps: [upstream]
    code_version: "3"
    automation_condition: "{{ dg.AutomationCondition.eager() }}"
    metadata: {rows: "{{ table.name }}"}
"""
    )
    defs = dg.Definitions.merge(project.load(), dg.Definitions(resources={"warehouse": RowledgerDatabase()}))

    key = dg.AssetKey(["raw", "noaa", "weather"])
    asset = defs.resolve_assets_def(key)
    spec = asset.get_asset_spec(key)
    assert (spec.group_name, spec.owners, spec.code_version) == ("weather", ["team:data"], "3")
    assert spec.tags["tier"] == "1"
    assert spec.kinds >= {"noaa"}
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey("upstream")]
    assert spec.automation_condition == dg.AutomationCondition.eager()
    assert spec.metadata["rows"] == "weather"
    assert asset.op.pool == "target_db"
    assert asset.op.retry_policy == dg.RetryPolicy(
        max_retries=3, delay=1.5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
    )
    assert asset.op.tags["team"] == "data"
    assert asset.backfill_policy == dg.BackfillPolicy.multi_run(4)
    repository = defs.get_repository_def()
    assert {"raw__noaa__weather_load", "raw__noaa__weather_replay"} <= set(repository.job_names)
    assert [schedule.cron_schedule for schedule in repository.schedule_defs] == ["15 7 * * *"]
    assert len(repository.sensor_defs) >= 1
    assert defs.resources is not None
    [writer] = [found for found in defs.resources.values() if isinstance(found, GuardedWriter)]
    assert writer.workers == 3


DAYS = "{type: daily, start: 2024-01-01}"
MAPPINGS = [
    ("{type: identity}", dg.IdentityPartitionMapping),
    ("{type: all}", dg.AllPartitionMapping),
    ("{type: last}", dg.LastPartitionMapping),
    ("{type: time_window, start_offset: -1}", lambda: dg.TimeWindowPartitionMapping(start_offset=-1)),
    (
        "{type: time_window, start_offset: -7, end_offset: '{{ 2 - 3 }}'}",
        lambda: dg.TimeWindowPartitionMapping(start_offset=-7, end_offset=-1),
    ),
    ("{type: specific, keys: ['1']}", lambda: dg.SpecificPartitionsPartitionMapping(["1"])),
    ("{type: static, keys: {a: north, b: [south]}}", lambda: dg.StaticPartitionMapping({"a": "north", "b": ["south"]})),
    (
        "{type: multi, dimensions: {day: {type: time_window, start_offset: -1}, region: {type: identity}}}",
        lambda: dg.MultiPartitionMapping(
            {
                "day": dg.DimensionPartitionMapping("day", dg.TimeWindowPartitionMapping(start_offset=-1)),
                "region": dg.DimensionPartitionMapping("region", dg.IdentityPartitionMapping()),
            }
        ),
    ),
    ('"{{ dg.AutomationCondition and mapping }}"', dg.LastPartitionMapping),
]


@pytest.mark.filterwarnings("ignore:Class `MultiPartitionMapping` is currently in beta")
@pytest.mark.parametrize(("mapping", "expected"), MAPPINGS)
def test_a_dependency_has_a_partition_mapping_of_each_kind(
    project: Project, mapping: str, expected: Callable[[], dg.PartitionMapping]
) -> None:
    project.write(
        "weather/template_vars.py",
        "import dagster as dg\n\n\n@dg.template_var\ndef mapping():\n    return dg.LastPartitionMapping()\n",
    )
    project.table(
        f"{WITH_DAYS}  partitions: {DAYS}\n  deps:\n    - plain\n    - {{asset: raw/stations, partition_mapping: {mapping}}}\n"
        "template_vars_module: .template_vars\n"
    )

    spec = project.load().resolve_assets_def("weather").get_asset_spec()

    assert list(spec.deps) == [
        dg.AssetDep(dg.AssetKey("plain")),
        dg.AssetDep(dg.AssetKey(["raw", "stations"]), partition_mapping=expected()),
    ]


def test_a_dependency_that_is_moved_by_a_day_needs_the_day_before(project: Project) -> None:
    project.table(
        f"{WITH_DAYS}  partitions: {DAYS}\n"
        "  deps: [{asset: raw/stations, partition_mapping: {type: time_window, start_offset: -1, end_offset: -1}}]\n"
    )
    days = dg.DailyPartitionsDefinition("2024-01-01")
    stations = dg.AssetSpec(dg.AssetKey(["raw", "stations"]), partitions_def=days)
    graph = dg.Definitions.merge(project.load(), dg.Definitions(assets=[stations])).resolve_asset_graph()
    weather = dg.AssetKey("weather")

    needed = graph.get_partition_mapping(weather, stations.key).get_upstream_mapped_partitions_result_for_partitions(
        days.subset_with_partition_keys(["2024-01-05"]), days, days
    )

    assert set(needed.partitions_subset.get_partition_keys()) == {"2024-01-04"}


@pytest.mark.filterwarnings("ignore:Parameter `allow_nonexistent_upstream_partitions`")
def test_a_dependency_may_lack_the_first_windows(project: Project) -> None:
    mapping = "{type: time_window, start_offset: -1, allow_nonexistent_upstream_partitions: true}"
    project.table(f"{WITH_DAYS}  partitions: {DAYS}\n  deps: [{{asset: stations, partition_mapping: {mapping}}}]\n")

    spec = project.load().resolve_assets_def("weather").get_asset_spec()

    [dep] = spec.deps
    assert dep.partition_mapping == dg.TimeWindowPartitionMapping(
        start_offset=-1, allow_nonexistent_upstream_partitions=True
    )


@pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")
def test_landing_assets_are_upstream_and_in_the_load_job(project: Project) -> None:
    project.table(f"{WITH_DAYS}  partitions: {DAYS}\n  landing: [raw/files]\n  jobs: true\n")
    files = dg.AssetKey(["raw", "files"])

    @dg.asset(
        key=files,
        partitions_def=dg.DailyPartitionsDefinition("2024-01-01"),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def land() -> None: ...

    defs = dg.Definitions.merge(project.load(), dg.Definitions(assets=[land]))

    job = defs.resolve_job_def("weather_load")
    assert set(job.asset_layer.executable_asset_keys) == {files, dg.AssetKey("weather")}
    assert [dep.asset_key for dep in defs.resolve_assets_def("weather").get_asset_spec().deps] == [files]


def test_a_subclass_gives_a_family_of_tables_its_assets_and_translation_comes_on_top(project: Project) -> None:
    (project.defs.parent / "components" / "family.py").write_text(
        "from rowledger.dagster import RowledgerTableComponent\n\n\n"
        "class Family(RowledgerTableComponent):\n"
        "    region: str = 'eu'\n\n"
        "    def get_asset_spec(self, data):\n"
        "        spec = super().get_asset_spec(data)\n"
        "        return spec.replace_attributes(key=spec.key.with_prefix(self.region), group_name='family')\n",
        encoding="utf-8",
    )
    project.table(
        f"{MINIMAL}  region: us\n  translation: {{tags: {{a: b}}}}\n",
        component=f"{project.name}.components.family.Family",
    )

    [spec] = project.load().resolve_all_asset_specs()

    assert (spec.key, spec.group_name) == (dg.AssetKey(["us", "weather"]), "family")
    assert spec.tags["a"] == "b"


def test_a_component_can_be_made_in_python(project: Project) -> None:
    (project.defs / "weather" / "component.py").write_text(
        "import dagster as dg\n\nfrom rowledger import CsvFiles\nfrom rowledger.dagster import RowledgerTableComponent\n\n\n"
        "@dg.component_instance\ndef load(context):\n    return RowledgerTableComponent(\n"
        "        columns={'id': 'bigint'}, source=CsvFiles(path='x.csv'), key=('id',), jobs=True\n    )\n",
        encoding="utf-8",
    )

    defs = project.load()

    assert [spec.key for spec in defs.resolve_all_asset_specs()] == [dg.AssetKey("weather")]
    assert "weather_load" in {job.name for job in defs.jobs or ()}


def test_one_file_may_hold_several_tables_with_resources_of_the_project(project: Project) -> None:
    common = f"{MINIMAL}  database: warehouse\n  writer: gentle\n"
    project.write(
        "weather/defs.yaml",
        "---\n".join(f"type: {COMPONENT}\n\nattributes:\n  name: {name}\n{common}" for name in ("north", "south")),
    )
    project.write(
        "resources.py",
        "import dagster as dg\n\nfrom rowledger.dagster import GuardedWriter, RowledgerDatabase\n\n\n"
        "@dg.definitions\ndef resources():\n    return dg.Definitions(\n"
        "        resources={'warehouse': RowledgerDatabase(), 'gentle': GuardedWriter(workers=1)}\n    )\n",
    )

    repository = project.load().get_repository_def()

    assert {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()} == {"north", "south"}
    assert set(repository.get_top_level_resources()) == {"warehouse", "gentle"}


def test_a_template_gives_any_value_and_its_text_is_not_read_as_python(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_NULL", "1e5")
    monkeypatch.setenv("SHOP_LINES", "2")
    project.write(
        "weather/vars.py",
        "import dagster as dg\n\n\n@dg.template_var\ndef days():\n    return dg.DailyPartitionsDefinition('2024-03-01')\n",
    )
    project.table(
        """\
  row: .rows.Weather
  source:
    type: csv
    path: "{landing}/{{ env.SHOP_NULL }}/{partition_key}.csv"
    nulls: ["{{ env.SHOP_NULL }}", "007"]
    skip_lines: "{{ env.SHOP_LINES }}"
  partition_by: day
  partitions: "{{ days }}"

template_vars_module: .vars
"""
    )

    component = dg.ComponentTree.for_project(project.root).load_component(
        "weather", expected_type=RowledgerTableComponent
    )

    assert component.source == CsvFiles(path="{landing}/1e5/{partition_key}.csv", nulls=("1e5", "007"), skip_lines=2)
    assert component.partitions == dg.DailyPartitionsDefinition("2024-03-01")


def test_no_secret_of_the_environment_is_in_the_config_of_a_database(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_URL", "postgresql://me:hush-hush@127.0.0.1:5432/shop")

    found = _component(project, f'{MINIMAL}  database: {{url: "{{{{ env.SHOP_URL }}}}"}}\n').database

    assert isinstance(found, RowledgerDatabase)
    assert "hush" not in repr(found)
    assert found.process_config_and_initialize().connection_url() == "postgresql://me:hush-hush@127.0.0.1:5432/shop"


MISTAKES = [
    (MINIMAL.replace("Weather", "Wether"), 4, "attributes.row: ", "rows has no Wether"),
    (MINIMAL.replace("Weather", "date"), 4, "attributes.row: ", "subclass of BaseModel"),
    (MINIMAL.replace(".rows.", ".row."), 4, "attributes.row: ", "there is no module"),
    (MINIMAL.replace("type: csv", "type: cvs"), 5, "attributes.source", "type must be one of csv, ndjson, json, parquet"),
    (MINIMAL.replace("path:", "pth:"), 5, "attributes.source.pth", "Extra inputs are not permitted"),
    (MINIMAL.replace("{landing}/weather", "../weather"), 5, "attributes.source.path: ", "goes up by '..'"),
    (MINIMAL + "  jobs: perhaps\n", 6, "attributes.jobs", "valid boolean"),
    (MINIMAL + "  job: true\n", 6, "attributes.job", "Extra inputs are not permitted"),
    (MINIMAL + "  limits:\n    workers: 1000\n", 7, "attributes.limits.workers", "less than or equal to 64"),
    (MINIMAL + "  write_mode: overwrite\n", 6, "attributes.write_mode", "'replace', 'append' or 'upsert'"),
    (MINIMAL + "  key: [nope]\n", 6, "attributes.key: ", "table weather: key columns ['nope'] are not in Weather"),
    (MINIMAL + "  partition_by: day\n", 6, "attributes.partition_by: ", "it has no partitions"),
    (MINIMAL + "  translation: {owners: [me]}\n", 6, "attributes.translation: ", "Invalid owner 'me'"),
    (MINIMAL.replace("weather.csv", "{day}.csv"), 3, "attributes: ", "its source names {day}; the placeholders are"),
    (
        MINIMAL.replace("weather.csv", "{day}.csv") + "  key: [a]\n  sensitive: [a, b]\n  partition_by: c\n",
        3, "attributes: ", ("key columns ['a'] and sensitive columns ['a', 'b'] and partition columns ['c'] are not in Weather"
        ": ['day', 'station']; its source names {day}; the placeholders are {landing}, {partition_key}, and {lower} and {upper}"
        " for windows of time"),
    ),
    (MINIMAL + '  schedule: "every day"\n', 6, "attributes.schedule: ", "no cron schedule; it has five fields"),
    (MINIMAL + '  pool: "{{ nope }}"\n', 6, "attributes.pool: ", "'nope' is undefined"),
    (MINIMAL + "  database:\n    password: hush\n", 7, "attributes.database.password: ", "write {{ env.NAME }}"),
    (MINIMAL + "  database: {url: 'postgresql://a:hush@b/c'}\n", 6, "attributes.database.url: ", "write {{ env.NAME }}"),
    (MINIMAL + "  columns: {id: bigint}\n", 4, "attributes.row: ", "give a row model as row, or columns, and not both"),
    (MINIMAL + "  writer: mine\n  limits: {workers: 1}\n", 6, "attributes.writer: ", "give limits, or the key of a writer"),
    (MINIMAL + "  translation:\n    group: x\n", 7, "attributes.translation.group", "Extra inputs"),
    (MINIMAL + "  partitions: {type: dayly}\n", 6, "attributes.partitions", "type must be one of hourly, daily"),
    (MINIMAL + "  partitions: {type: daily, start: 2024-13-01}\n", 6, "attributes.partitions: ", "does not match format"),
    (MINIMAL + "  partitions: {type: static, keys: [2024]}\n", 6, "attributes.partitions.keys.0", "valid string"),
    (
        MINIMAL + "  partitions: {type: daily, start: 2024-01-01, timezone: Europe/Bern}\n",
        6, "attributes.partitions: ", "No time zone found",
    ),
    (
        MINIMAL + "  partitions:\n    type: multi\n    dimensions:\n      a: {type: daily, start: x}\n      b: {type: daily}\n",
        10, "attributes.partitions.dimensions.b", "Field required",
    ),
    (
        "  columns:\n    id: bigint\n    day: {type: dte}\n  source: {type: csv, path: x.csv}\n",
        6, "attributes.columns.day.type", "dte is no type of PostgreSQL; is date meant?",
    ),
    (
        "  columns:\n    id: bigint\n    day: {type: date, max_length: 3}\n  source: {type: csv, path: x.csv}\n",
        6, "attributes.columns.day: ", "max_length goes with texts",
    ),
    (
        MINIMAL + "  deps:\n    - raw/a\n    - {asset: b, partition_mapping: {type: window}}\n",
        8, "attributes.deps.1.partition_mapping", "type must be one of identity, all, last, time_window",
    ),
    (
        MINIMAL + "  deps:\n    - {asset: b, partition_mapping: {type: time_window, start: -1}}\n",
        7, "attributes.deps.0.partition_mapping.start", "Extra inputs are not permitted",
    ),
    (MINIMAL + "  deps:\n    - {key: b}\n", 7, "attributes.deps.0.", "Field required"),
    ("  source: {type: csv, path: x.csv}\n", 3, "attributes: ", "give a row model as row, or columns"),
    ("  row: .rows.Weather\n", 3, "attributes.source", "Field required"),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "line", "field", "told"), MISTAKES)
def test_a_mistake_names_file_line_and_field(
    project: Project, attributes: str, line: int, field: str, told: str
) -> None:
    message = _mistake(project, attributes)

    assert f"weather/defs.yaml:{line}" in message
    assert field in message
    assert told in message
    assert "hush" not in message.partition("\n")[0]


def test_a_mistake_in_the_module_of_the_row_model_names_that_file_too(project: Project) -> None:
    project.write("weather/rows.py", ROWS.replace("day: date", "day: dte"))

    message = _mistake(project, MINIMAL)

    assert "weather/defs.yaml:4 - attributes.row: " in message
    assert "rows.py: line 9" in message


def test_columns_in_yaml_become_the_row_of_a_table_that_is_loaded_through_dagster(
    project: Project, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = tmp_path / "lake" / "landing"
    landing.mkdir(parents=True)
    (landing / "2024-01-01.csv").write_text(
        "Day;Station;Degrees\n2024-01-01;EDDB;1.5\n2024-01-01;KJFK;none\n2024-01-01;;x\n"
    )
    monkeypatch.setenv("ROWLEDGER_HOME", str(landing.parent))
    settings.cache_clear()
    monkeypatch.setenv("SHOP_URL", database)
    project.table(
        """\
  columns:
    day: {type: date, source: Day}
    station: {type: char(4), source: Station, description: ICAO code}
    degrees: {type: "numeric(4,1)", source: Degrees, nullable: true, ge: -90}
  source: {type: csv, path: "{landing}/{partition_key}.csv", delimiter: ";", nulls: ["", none]}
  key: [day, station]
  partition_by: day
  partitions: {type: daily, start: 2024-01-01}
  dead_letters: {rows_max: 5, share_max: 1}
  limits: {workers: 1}
  database: {url: "{{ env.SHOP_URL }}"}
"""
    )
    defs = project.load()

    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(partition_key="2024-01-01")

    assert result.success
    rows = _rows(database, "select station, degrees::text from public.weather order by station")
    assert rows == [("EDDB", "1.5"), ("KJFK", None)]
    assert _rows(database, "select count(*) from rowledger.dead_letter") == [(1,)]
    schema = defs.resolve_all_asset_specs()[0].metadata["dagster/column_schema"]
    assert [column.name for column in schema.columns] == ["day", "station", "degrees"]


def _rows(database: str, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in databases.fetch(database, query)]
