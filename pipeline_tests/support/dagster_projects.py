"""Projects of Dagster as create-dagster lays them out, with tables in YAML, and `dg` commands in them."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from rowledger.settings import child_environment

COMPONENT = "rowledger.dagster.RowledgerTableComponent"
_PYPROJECT = """\
[project]
name = "{name}"
requires-python = ">=3.10"
version = "0.1.0"
dependencies = []

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{name}"
registry_modules = ["{name}.components.*"]
"""
_DEFINITIONS = """\
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


@dataclass(frozen=True)
class Project:
    """A project on disk. `name` is that of its package, which must be another one in each test of a process."""

    root: Path
    name: str

    @property
    def defs(self) -> Path:
        return self.root / "src" / self.name / "defs"

    def write(self, path: str, text: str) -> Path:
        """A file below `defs`."""
        file = self.defs / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def table(self, attributes: str, *, folder: str = "weather", component: str = COMPONENT) -> Path:
        """A table's defs.yaml; the attributes are indented by two blanks."""
        return self.write(f"{folder}/defs.yaml", f"type: {component}\n\nattributes:\n{attributes}")

    def load(self) -> dg.Definitions:
        """The definitions of the project, in this process."""
        return dg.load_from_defs_folder(path_within_project=self.root)

    def dg(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """A command of `dg` in the project's folder."""
        return subprocess.run(
            [Path(sys.executable).with_name("dg"), *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            env={
                **child_environment(DAGSTER_HOME=str(self.root / "home"), COLUMNS="200", **environment),
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            },
        )


def new_project(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project, importable in this process and in its children."""
    project = Project(root, name)
    project.defs.mkdir(parents=True)
    (root / "home").mkdir()
    (root / "home" / "dagster.yaml").touch()
    (root / "pyproject.toml").write_text(_PYPROJECT.format(name=name), encoding="utf-8")
    package = project.defs.parent
    (package / "components").mkdir()
    for folder in (package, project.defs, package / "components"):
        (folder / "__init__.py").touch()
    (package / "definitions.py").write_text(_DEFINITIONS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(root / "src"))
    return project
