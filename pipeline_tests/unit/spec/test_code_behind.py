"""The modules whose code makes a table's rows: each that is imported, however that is written, and no library."""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from rowledger.spec.code_behind import modules_behind
from rowledger.spec.table import TableSpec

_TABLE = """
import json
import polars
from pydantic import BaseModel
from rowledger import FrameTransform, ParquetFiles, TableSpec


class Row(BaseModel):
    n: int


def changed(frame):
    return frame


SPEC = TableSpec(
    name="rows", row=Row, source=ParquetFiles(path="{landing}/x.parquet"), transform=FrameTransform(function=changed)
)
"""
_OURS = {"shop", "rates", "tax", "prices"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder from which modules are imported: the package `shop` with a table, and whatever a test adds."""
    _write(tmp_path, "shop/__init__.py", "")
    _write(tmp_path, "shop/table.py", _TABLE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        del sys.modules[name]


def _write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def _spec() -> TableSpec:
    found = importlib.import_module("shop.table").SPEC
    assert isinstance(found, TableSpec)
    return found


def test_the_table_s_own_module_and_its_package_count_and_no_library(project: Path) -> None:
    assert (project / "shop").is_dir()
    assert modules_behind(_spec()).keys() == {"shop", "shop.table"}


@pytest.mark.parametrize(
    "statement",
    [
        "import rates",
        "import rates as r",
        "from rates import PERCENT",
        "from rates import *",
        "def later():\n    import rates",
        "if False:\n    import rates",
        "from shop import middle",
        "from . import middle",
        "from .middle import VALUE",
        "import shop.middle",
    ],
)
def test_a_change_in_a_module_that_is_imported_shows_wherever_that_is_written(project: Path, statement: str) -> None:
    _write(project, "shop/table.py", f"{statement}\n{_TABLE}")
    _write(project, "shop/middle.py", "from rates import PERCENT\nVALUE = PERCENT")
    _write(project, "rates.py", "PERCENT = 19")
    before = modules_behind(_spec())
    _write(project, "rates.py", "PERCENT = 20")
    after = modules_behind(_spec())
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {"rates"}


def test_modules_that_import_one_another_and_what_cannot_be_parsed_or_found_do_no_harm(project: Path) -> None:
    _write(project, "shop/table.py", f"import rates\n{_TABLE}")
    _write(project, "rates.py", "def later():\n    import tax, nowhere, nowhere.else_, shop.table\n")
    _write(project, "tax.py", "def (")
    assert modules_behind(_spec()).keys() == {"shop", "shop.table", "rates", "tax"}


def test_an_installed_library_does_not_count_but_for_the_package_of_the_table_itself(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = project / "lib" / "site-packages"
    _write(installed, "shop/__init__.py", "")
    _write(installed, "shop/table.py", f"import rates\nimport shop.middle\n{_TABLE}")
    _write(installed, "shop/middle.py", "")
    _write(installed, "rates.py", "")
    monkeypatch.syspath_prepend(installed)
    assert modules_behind(_spec()).keys() == {"shop", "shop.table", "shop.middle"}


@pytest.mark.parametrize(
    "statement",
    ["def later():\n    from reports import templates", "def later():\n    from reports.templates.monthly import HEAD"],
)
def test_a_namespace_package_in_a_package_that_is_not_loaded_is_searched(project: Path, statement: str) -> None:
    _write(project, "shop/table.py", f"{statement}\n{_TABLE}")
    _write(project, "reports/__init__.py", "")
    _write(project, "reports/templates/monthly.py", "HEAD = 1")
    names = {"shop", "shop.table", "reports"} | ({"reports.templates.monthly"} if "HEAD" in statement else set())
    assert modules_behind(_spec()).keys() == names
    assert "reports" not in sys.modules


def test_a_namespace_package_that_is_partly_installed_counts_where_it_is_the_user_s(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(project, "shop/table.py", f"import rates.own\nimport rates.bought\n{_TABLE}")
    _write(project, "rates/own.py", "")
    _write(project, "lib/site-packages/rates/bought.py", "")
    monkeypatch.syspath_prepend(project / "lib" / "site-packages")
    assert modules_behind(_spec()).keys() == {"shop", "shop.table", "rates.own"}


def test_modules_that_another_machine_counts_count_here_too(project: Path) -> None:
    _write(project, "lib/site-packages/rates.py", "")
    sys.path.append(str(project / "lib" / "site-packages"))
    try:
        assert modules_behind(_spec(), also=["rates", "nowhere"]).keys() == {"shop", "shop.table", "rates"}
    finally:
        sys.path.remove(str(project / "lib" / "site-packages"))


def test_files_of_one_name_are_told_apart_from_either_alone(project: Path) -> None:
    for folder, text in (("a", "VALUE = 1"), ("b", "VALUE = 2")):
        _write(project, f"{folder}/prices.py", f"{text}\n{_TABLE}")
    one = modules_behind(TableSpec.from_reference(f"{project / 'a' / 'prices.py'}:SPEC"))
    other = modules_behind(TableSpec.from_reference(f"{project / 'b' / 'prices.py'}:SPEC"))
    assert one.keys() == other.keys() == {"prices"}
    assert one != other


def test_a_text_that_python_warns_of_is_read_to_its_end(project: Path) -> None:
    _write(project, "shop/table.py", f"import rates\n{_TABLE}")
    _write(project, "rates.py", "def later():\n    import tax\nPATTERN = '\\d'\n")
    _write(project, "tax.py", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = _spec()
        warnings.simplefilter("error")
        assert modules_behind(spec).keys() == {"shop", "shop.table", "rates", "tax"}


def test_a_module_that_loads_when_it_is_used_is_not_run_by_this(project: Path) -> None:
    _write(project, "shop/table.py", f"def later():\n    import rates\n{_TABLE}")
    _write(project, "rates.py", "import nowhere_at_all")
    spec = _spec()
    found = importlib.util.find_spec("rates")
    assert found is not None
    assert found.loader is not None
    found.loader = importlib.util.LazyLoader(found.loader)
    sys.modules["rates"] = module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    assert modules_behind(spec).keys() == {"shop", "shop.table", "rates"}


def test_tables_of_a_file_that_no_import_finds_have_it_under_the_file_s_name(project: Path) -> None:
    _write(project, "elsewhere/prices.py", f"import rates\n{_TABLE}")
    _write(project, "rates.py", "")
    spec = TableSpec.from_reference(f"{project / 'elsewhere' / 'prices.py'}:SPEC")
    assert modules_behind(spec).keys() == {"prices", "rates"}
