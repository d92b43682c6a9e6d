"""What is measured of a process tree."""

import os
import sys
from pathlib import Path

from benchmarks.race.measure import Measured, measure

_BUSY_S = 0.6  # more than the sampler waits before it looks for children again
_BUSY = f"import time\nheld = b'x' * (64 * 2**20)\nwhile time.process_time() < {_BUSY_S}: pass"
_PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {_BUSY!r}], check=True)"
_FOR_EVER = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import signal; signal.pause()'])"


def _measure(code: str, tmp_path: Path, deadline_s: float = 60) -> Measured:
    command = [sys.executable, "-c", code]
    return measure(command, environment=os.environ, log=tmp_path / "log", deadline_s=deadline_s)


def test_children_count(tmp_path: Path) -> None:
    measured = _measure(_PARENT, tmp_path)

    assert measured.exit_code == 0
    assert measured.cpu_s >= _BUSY_S
    assert measured.wall_s >= _BUSY_S
    assert measured.rss_child_bytes >= 64 * 2**20 > measured.rss_first_bytes > 0
    assert measured.rss_tree_bytes > measured.rss_child_bytes


def test_the_exit_code_and_the_end_of_the_output_are_kept(tmp_path: Path) -> None:
    measured = _measure("import sys; print('why', file=sys.stderr); sys.exit(7)", tmp_path)

    assert measured.exit_code == 7
    assert measured.output == "why"


def test_a_tree_that_hangs_is_killed_at_its_deadline(tmp_path: Path) -> None:
    assert _measure(_FOR_EVER, tmp_path, deadline_s=0.5).exit_code is None
