"""Proof that the checker checks: the suite notices each of the `deliberate_bugs`.

A bug is made in a copy of the code and its tests, where one test of the suite, run by a pytest of its own, has to fail: by what
it asserts, not because the copy is no program. Without the bug it passes, as the suite shows.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest

from pipeline_tests.faults.deliberate_bugs import BUGS, Bug

pytestmark = pytest.mark.slow

_CHECKOUT = Path(__file__).parents[2]
_TEST_TIMEOUT_S = 100  # pytest-timeout's: a hang fails the test, in words that only a bug that should hang expects
_TIMEOUT_S = 200


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with all that the tests need of a checkout."""
    folder = tmp_path / "copy"
    for name in ("rowledger", "pipeline", "pipeline_tests", "sql"):
        shutil.copytree(_CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_CHECKOUT / "pyproject.toml", folder)
    return folder


def _python(copy: Path, *arguments: str, server: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python in the copy, and end it with all its children if it does not end by itself."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTEST_ADDOPTS": "", "ROWLEDGER_TEST_DATABASE_URL": server}
    command = [sys.executable, *arguments]
    with subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=_TIMEOUT_S)
        except BaseException:  # too late, or interrupted
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                child.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output)


def _make(bug: Bug, copy: Path) -> None:
    for change in bug.changes:
        file = copy / change.file
        text = file.read_text(encoding="utf-8")
        found = text.count(change.text)
        assert found == 1, f"{bug.name}: {change.file} has this {found} times, not once:\n{change.text}"
        file.write_text(text.replace(change.text, change.replacement), encoding="utf-8")
    changed = [change.file for change in bug.changes if change.file.endswith(".py")]
    if changed:  # it must be a program still: one that parses, and whose every name means something
        names = ["--isolated", "--target-version", "py311", "--select", "E9,F821,F823"]
        checked = _python(copy, "-m", "ruff", "check", *names, *changed)
        assert checked.returncode == 0, checked.stdout


def _failures(report: Path) -> list[str]:
    """What the tests that failed by themselves, rather than in a fixture, have to say."""
    texts = [failure.text or "" for failure in ET.parse(report).iter("failure")]
    return ["\n".join(line for line in text.splitlines() if line.startswith("E ")) for text in texts]


def test_tests_and_workers_of_the_copy_run_the_copy_s_code(copy: Path) -> None:
    where = (
        "import subprocess, sys, rowledger, pipeline_tests.conftest; from rowledger.settings import child_environment;"
        "print(rowledger.__file__, pipeline_tests.conftest.__file__, flush=True);"
        "subprocess.run([sys.executable, '-m', 'inspect', '--details', 'rowledger.workers.process'],"
        "               env=child_environment(), cwd='/', check=True)"
    )
    said = _python(copy, "-c", where)
    assert said.returncode == 0, said.stdout
    for file in ("rowledger/__init__.py", "pipeline_tests/conftest.py", "rowledger/workers/process.py"):
        assert str(copy / file) in said.stdout


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_suite_notices(bug: Bug, copy: Path, server: str) -> None:
    _make(bug, copy)
    report = copy / "report.xml"
    options = ["-m", "", "-p", "no:cacheprovider", f"--timeout={_TEST_TIMEOUT_S}", f"--junitxml={report}"]
    run = _python(copy, "-m", "pytest", *options, bug.test, server=server)
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout
    (said,) = _failures(report)
    assert bug.noticed in said, run.stdout
