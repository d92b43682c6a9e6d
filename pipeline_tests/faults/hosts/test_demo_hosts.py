"""`make demo-hosts`, as a user runs it, and interrupted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow


def _start(folder: Path, **options: bool) -> "subprocess.Popen[str]":
    root = Path(__file__).parents[3]
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.demo_hosts"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def test_the_demo_finds_every_row(open_folder: Path) -> None:
    with _start(open_folder) as demo:
        said = demo.communicate(timeout=280)[0]
    assert demo.returncode == 0, said
    assert "host berlin was lost" in said
    assert "the table has 336,776 flights" in said
    assert not (open_folder / ".rowledger" / "demo-hosts").exists()


def test_an_interrupted_demo_leaves_nothing(open_folder: Path) -> None:
    with _start(open_folder, start_new_session=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("$ rowledger load"):
                break
        started = psutil.Process(demo.pid).children(recursive=True)
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal's Ctrl-C
        said = demo.communicate(timeout=120)[0]
    assert demo.returncode == 130, said
    assert len(started) > 20
    assert not psutil.wait_procs(started, timeout=10)[1]
    assert not (open_folder / ".rowledger" / "demo-hosts").exists()
