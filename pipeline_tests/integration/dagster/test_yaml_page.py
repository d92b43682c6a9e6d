"""The examples of docs/yaml.md load as they are printed."""

import re
from pathlib import Path

import dagster as dg
import pytest

from pipeline_tests.support.dagster_projects import new_project

pytestmark = [  # what Dagster does when it loads components
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
    pytest.mark.filterwarnings("ignore:Parameter `"),
]
_PAGE = (Path(__file__).parents[3] / "docs" / "yaml.md").read_text(encoding="utf-8")
_BLOCKS = {kind: re.findall(rf"^```{kind}\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL) for kind in ("python", "yaml")}


def test_each_table_of_the_page_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = new_project(tmp_path, "shop_of_the_page", monkeypatch)
    rows, family = _BLOCKS["python"]
    weather, orders = _BLOCKS["yaml"]
    project.write("weather/rows.py", rows)
    project.write("weather/defs.yaml", weather)
    project.write("orders/defs.yaml", orders)
    (project.defs.parent / "components" / "warehouse.py").write_text(family, encoding="utf-8")
    component = "shop_of_the_page.components.warehouse.WarehouseTable"
    project.write("regional/rows.py", rows)
    project.table(
        "  row: .rows.Weather\n  source: {type: csv, path: x.csv}\n  region: us\n",
        folder="regional",
        component=component,
    )

    defs = dg.load_from_defs_folder(path_within_project=project.root)

    keys = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    assert set(keys) == {"raw/weather", "raw/holidays", "raw/stations", "orders", "us/regional"}
    assert keys["raw/weather"].group_name == "weather"
    assert isinstance(keys["orders"].partitions_def, dg.MultiPartitionsDefinition)
    assert {job.name for job in defs.jobs or ()} >= {"raw__weather_load", "raw__weather_verify"}
