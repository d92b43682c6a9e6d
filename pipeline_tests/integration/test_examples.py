"""The example projects, with the built wheel in an environment of its own: each command of their READMEs does what it says."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(900)  # ten commands, each of which loads Dagster, in an environment without bytecode

_EXAMPLES = ("python_project", "yaml_project")
_COMMAND_TIMEOUT_S = 300


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with copies of the projects, and the environment in which the wheel and both of them are installed."""
    folder = tmp_path_factory.mktemp("examples")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=_CHECKOUT, check=True, capture_output=True, text=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    for name in _EXAMPLES:
        ignored = shutil.ignore_patterns(".rowledger", ".venv", "__pycache__")
        shutil.copytree(_CHECKOUT / "examples" / name, folder / name, ignore=ignored)
    uv = Path(sys.executable).with_name("uv")
    made = [uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"]
    install = [uv, "pip", "install", "--quiet", "--python", folder / "venv" / "bin" / "python"]
    install += ["--constraint", _CHECKOUT / "requirements.lock"]
    install += [f"rowledger[dagster,embedded,testing] @ {wheel.as_uri()}", "dagster-dg-cli"]
    for name in _EXAMPLES:
        install += ["--editable", folder / name]
    for command in (made, install):
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False)
        assert done.returncode == 0, done.stderr
    return folder


def _run(command: str, project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    venv = project.parent / "venv"
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DAGSTER_", "PYTEST_", "PYTHON", "ROWLEDGER_"))
    }
    return subprocess.run(
        ["bash", "-c", command],
        cwd=project,
        env={
            **inherited,
            "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(venv),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=_COMMAND_TIMEOUT_S,
        check=False,
    )


def _commands(project: Path) -> Iterator[tuple[str, int]]:
    """The commands of the README that do not install, and the exit code that each must have."""
    (block,) = re.findall(r"```sh\n(.*?)```", (project / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines():
        if not line.startswith("pip install "):
            yield line, 1 if "# red" in line else 0


def test_the_commands_of_the_python_project_s_readme_work_without_a_database_of_one_s_own(projects: Path) -> None:
    project = projects / "python_project"
    try:
        said = {}
        for command, exit_code in _commands(project):
            done = _run(command, project)
            assert done.returncode == exit_code, f"{command}\n{done.stdout}\n{done.stderr}"
            said[command] = done.stdout
    finally:
        _run("rowledger db destroy --yes", project)
    told = said["rowledger status"]
    assert re.search(r"^sales +2024-01-01 +\S+ \S+ +4 +3 +1 +0 ", told, re.MULTILINE)
    assert re.search(r"^sales +2024-01-02 .* rejected\b", told, re.MULTILINE)
    assert re.search(r"^takings +2024-01-01 +\S+ \S+ +2 +2 +0 +0 ", told, re.MULTILINE)
    assert " passed" in said["pytest"]


def test_the_commands_of_the_yaml_project_s_readme_work_on_a_given_server(projects: Path, database: str) -> None:
    project = projects / "yaml_project"
    said = {}
    for command, exit_code in _commands(project):
        done = _run(command, project, ROWLEDGER_DATABASE_URL=database)
        assert done.returncode == exit_code, f"{command}\n{done.stdout}\n{done.stderr}"
        said[command] = done.stdout
    assert re.search(r"2013-01-01 +\S+ \S+ +4 +3 +1 +0 ", said["rowledger status --table observations"])
    assert "temperature_f: Input should be a valid number" in said["rowledger dead-letters list --table observations"]
