"""The process that is measured: calls a contestant, beside further processes of the same if it wants some.

It is started with what it needs to know as JSON in its argument, and the server's URL in DATABASE_URL.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.contestants.task import Task

__all__ = ["command"]


def command(entry: str, after: str | None, task: Task) -> list[str]:
    """The arguments that start it. The URL is no part of them: everyone on the machine can read those."""
    return _command({"entry": entry, "after": after}, task)


def main() -> None:
    """Do this process's share; the first process waits for the others and has the last word."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    task = Task.from_json(sys.argv[2])
    # Before anything large is imported, so that all begin at once.
    shares = range(1, task.processes) if task.share == 0 else ()
    others = [
        subprocess.Popen(_command(told, task.of_share(share)))  # noqa: S603 - what we are ourselves
        for share in shares
    ]
    try:
        _function(told["entry"])(task)
    finally:
        exit_codes = [other.wait() for other in others]
    if any(exit_codes):
        raise SystemExit(f"processes beside the first ended with exit codes {exit_codes}")
    if task.share == 0 and told["after"]:
        _function(told["after"])(task)


def _command(told: dict[str, Any], task: Task) -> list[str]:
    return [sys.executable, "-m", "benchmarks.race.run", json.dumps(told), task.as_json()]


def _function(reference: str) -> Callable[[Task], None]:
    module, _, name = reference.partition(":")
    function: Callable[[Task], None] = getattr(importlib.import_module(module), name)
    return function


if __name__ == "__main__":
    main()
