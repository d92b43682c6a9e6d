"""The names of commands are completed without importing the commands."""

import subprocess
import sys

_COMPLETE = """
import sys
from click.shell_completion import BashComplete
from rowledger.cli.main import COMMANDS, cli
completion = BashComplete(cli, {}, "rowledger", "_ROWLEDGER_COMPLETE")
assert [item.value for item in completion.get_completions([], "stat")] == ["status"]
assert {item.value for item in completion.get_completions([], "")} == set(COMMANDS)
assert not [name for name in sys.modules if name.startswith("rowledger.cli.") and name != "rowledger.cli.main"]
assert "--exit-code" in [item.value for item in completion.get_completions(["status"], "--")]
"""


def test_a_command_is_imported_only_when_its_own_options_are_completed() -> None:
    done = subprocess.run([sys.executable, "-c", _COMPLETE], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
