"""Proof that the checker checks: the suite notices each of the `deliberate_bugs`.

A bug is made in a pytest process of its own and in all that it starts. One test of the suite has to fail there, by what it
asserts. Without the bug it passes, as the suite shows.
"""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest

from pipeline_tests.faults.deliberate_bugs.bug import VARIABLE, Bug, all_bugs

pytestmark = pytest.mark.slow

_CHECKOUT = Path(__file__).parents[2]
_STARTUP = Path(__file__).parent / "deliberate_bugs" / "startup"
_TEST_TIMEOUT_S = 100  # pytest-timeout's: a hang fails the test, in words that only a bug that should hang expects
_TIMEOUT_S = 200


def _python(bug: str, *arguments: str, server: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python with a bug, and end it with all its children if it does not end by itself."""
    environment = {
        **os.environ,
        VARIABLE: bug,
        "PYTHONPATH": os.pathsep.join([str(_STARTUP), str(_CHECKOUT)]),
        "PYTEST_ADDOPTS": "",
        "ROWLEDGER_TEST_DATABASE_URL": server,
    }
    command = [sys.executable, *arguments]
    with subprocess.Popen(
        command, cwd=_CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=_TIMEOUT_S)
        except BaseException:  # too late, or interrupted
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                child.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output)


def _failures(report: Path) -> list[str]:
    """What the tests that failed by themselves, rather than in a fixture, have to say."""
    texts = [failure.text or "" for failure in ET.parse(report).iter("failure")]
    return ["\n".join(line for line in text.splitlines() if line.startswith("E ")) for text in texts]


def test_a_bug_is_made_in_a_process_and_in_the_workers_that_it_starts() -> None:
    show = "from rowledger.postgres import query; print(query('fence_load'), flush=True)"
    start_worker = (
        "import subprocess, sys; from rowledger.settings import child_environment;"
        f"subprocess.run([sys.executable, '-c', {show!r}], env=child_environment(), cwd='/', check=True)"
    )
    said = _python("ledger.fence_dropped", "-c", f"{show}; {start_worker}")
    assert said.returncode == 0, said.stdout
    first, second = said.stdout.splitlines()
    assert first == second
    assert "$2::integer > 0" in first


def test_a_process_whose_bug_cannot_be_made_does_not_run() -> None:
    said = _python("ledger.no_such_bug", "-c", "print('it runs')")
    assert said.returncode != 0
    assert "no_such_bug" in said.stdout
    assert "it runs" not in said.stdout


@pytest.mark.parametrize("bug", all_bugs(), ids=lambda bug: bug.name)
def test_the_suite_notices(bug: Bug, tmp_path: Path, server: str) -> None:
    report = tmp_path / "report.xml"
    options = ["-m", "", "-p", "no:cacheprovider", f"--timeout={_TEST_TIMEOUT_S}", f"--junitxml={report}"]
    options += ["-W", "ignore"]  # a bug imports early what keeps its own warnings down when pytest imports it
    run = _python(bug.name, "-m", "pytest", *options, bug.test, server=server)
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout
    (said,) = _failures(report)
    assert bug.noticed in said, run.stdout
