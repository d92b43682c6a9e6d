"""The modules whose code makes a table's rows: each that is imported, however that is written, and no library."""

import importlib
import sys
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


def test_tables_of_a_file_that_no_import_finds_have_it_under_the_file_s_name(project: Path) -> None:
    _write(project, "elsewhere/prices.py", f"import rates\n{_TABLE}")
    _write(project, "rates.py", "")
    spec = TableSpec.from_reference(f"{project / 'elsewhere' / 'prices.py'}:SPEC")
    assert modules_behind(spec).keys() == {"prices", "rates"}
