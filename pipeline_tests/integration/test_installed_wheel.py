"""The built wheel in projects elsewhere: what it brings, and that nothing of it depends on this repository."""

import json
import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from pipeline_tests.support.database import fetch_value

_CHECKOUT = Path(__file__).parents[2]
_HEAVY = ("adbc_driver_manager", "asyncpg", "dagster", "numpy", "pandas", "polars", "pyarrow", "pydantic")

_ROWS = """
    from pydantic import BaseModel

    class Sale(BaseModel):
        sale_id: int
        shop: str
"""
_TABLES = """
    from rowledger import CsvFiles, TableSpec, FrameTransform
    from shop.rows import Sale

    def only_large(frame):
        return frame.filter(frame["sale_id"].cast(int) > 1)

    def tables():
        for name in ("sales", "returns"):
            yield TableSpec(
                name=name,
                row=Sale,
                source=CsvFiles(path="{landing}/" + name + "/{partition_key}.csv"),
                partition_by="shop",
                transform=FrameTransform(function=only_large),
            )
"""
_DEFINITIONS = """
    import dagster as dg
    import pipeline
    from rowledger.dagster import build_table_defs
    from shop.tables import tables

    assert pipeline.MINE
    SHOPS = dg.StaticPartitionsDefinition(["north", "south"])
    defs = dg.Definitions.merge(*(build_table_defs(spec, partitions_def=SHOPS) for spec in tables()))
"""
_ONE_FILE = """
    import dagster as dg
    from pydantic import BaseModel
    from rowledger import CsvFiles, TableSpec
    from rowledger.dagster import build_table_defs

    class Sale(BaseModel):
        sale_id: int
        shop: str

    SALES = TableSpec(
        name="sales", row=Sale, source=CsvFiles(path="{landing}/sales/{partition_key}.csv"), partition_by="shop"
    )
    defs = build_table_defs(SALES, partitions_def=dg.StaticPartitionsDefinition(["north", "south"]))
"""
_SCRIPT = """
    from rowledger import Equals, Partition, load
    from shop.tables import tables

    if __name__ == "__main__":
        for spec in tables():
            for report in load(spec, [Partition("north", (Equals("shop", "north"),))]):
                print(report.table, report.written_rows, report.filtered_rows)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=_CHECKOUT, check=True, capture_output=True, text=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has what pip would install of the wheel alone."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A Dagster project elsewhere, which has a package `pipeline` of its own, and a file of sales a shop."""
    folder = tmp_path / "project"
    for name, text in {
        "shop/__init__.py": "",
        "shop/rows.py": _ROWS,
        "shop/tables.py": _TABLES,
        "shop/definitions.py": _DEFINITIONS,
        "pipeline/__init__.py": "MINE = True",
        "elsewhere/sales_defs.py": _ONE_FILE,
        "load_sales.py": _SCRIPT,
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    for table in ("sales", "returns"):
        for shop in ("north", "south"):
            path = tmp_path / "home" / "landing" / table / f"{shop}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("sale_id,shop\n" + "".join(f"{number},{shop}\n" for number in range(1, 6)))
    (tmp_path / "dagster_home").mkdir()
    return folder


def _run(project: Path, installed: Path, database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed),
        "DAGSTER_HOME": str(project.parent / "dagster_home"),
        "ROWLEDGER_HOME": str(project.parent / "home"),
        "ROWLEDGER_DATABASE_URL": database,
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_the_wheel_has_one_top_level_package_with_types_and_sql(installed: Path) -> None:
    top = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert top == {"rowledger"}
    assert (installed / "rowledger" / "py.typed").is_file()
    assert list((installed / "rowledger" / "sql" / "queries").glob("*.sql"))
    stubs = {path.parent for path in installed.rglob("__init__.pyi")}
    lazy = {path.parent for path in installed.rglob("__init__.py") if "attach_stub" in path.read_text(encoding="utf-8")}
    assert stubs == lazy


def test_importing_it_imports_nothing_heavy_until_a_name_is_used(installed: Path, tmp_path: Path) -> None:
    code = (
        "import json, sys, rowledger;"
        f"before = [name for name in {_HEAVY} if name in sys.modules];"
        "names = [str(getattr(rowledger, name)) for name in rowledger.__all__];"
        "print(json.dumps([rowledger.__file__, rowledger.__version__, before, names]))"
    )
    said = _run(tmp_path, installed, "", "-P", "-c", code)
    assert said.returncode == 0, said.stderr
    file, version, before, names = json.loads(said.stdout)
    assert Path(file).is_relative_to(installed)
    assert version
    assert before == []
    assert len(names) >= 30


def test_tables_from_a_factory_load_beside_a_package_of_the_project_s_own(
    project: Path, installed: Path, database: str
) -> None:
    launch = ("-m", "dagster", "asset", "materialize", "-m", "shop.definitions", "--select", "sales,returns")
    said = _run(project, installed, database, *launch, "--partition", "north")
    assert said.returncode == 0, said.stdout + said.stderr
    for table in ("sales", "returns"):
        assert fetch_value(database, f"select count(*) from {table}") == 4
    verified = _run(project, installed, database, "-m", "rowledger", "verify")
    assert verified.returncode == 0, verified.stderr
    assert "table sales: 1 published partition is what was loaded" in verified.stdout


def test_a_spec_in_a_file_loads_though_no_module_of_its_name_can_be_imported(
    project: Path, installed: Path, database: str
) -> None:
    launch = ("-m", "dagster", "asset", "materialize", "-f", "elsewhere/sales_defs.py", "--select", "sales")
    said = _run(project, installed, database, *launch, "--partition", "south")
    assert said.returncode == 0, said.stdout + said.stderr
    assert fetch_value(database, "select count(*) from sales") == 5


def test_a_script_loads_without_dagster(project: Path, installed: Path, database: str) -> None:
    said = _run(project, installed, database, "load_sales.py")
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.splitlines() == ["sales 4 1", "returns 4 1"]
