"""One load of one contestant: `python -m benchmarks.race.run TASK`, the URL in DATABASE_URL; TASK is JSON, see `command`.

The harness starts the first process; that one starts the others before it imports anything large, so that all begin alike.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contestants.task import Task

__all__ = ["command"]


def command(
    entry: str,
    after: str | None,
    *,
    processes: int,
    landing: Path,
    table: str,
    scratch: Path,
    copy_files: tuple[Path, ...] = (),
    share: int = 0,
) -> list[str]:
    """The arguments that start it. The URL is no part of them: everyone on the machine can read those."""
    told = {
        "entry": entry,
        "after": after,
        "processes": processes,
        "landing": str(landing),
        "table": table,
        "scratch": str(scratch),
        "copy_files": [str(file) for file in copy_files],
        "share": share,
    }
    return [sys.executable, "-m", "benchmarks.race.run", json.dumps(told)]


def main() -> None:
    """Do this process's share; the first process waits for the others and has the last word."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    # Before anything large is imported, so that all begin at once.
    shares = range(1, told["processes"]) if told["share"] == 0 else ()
    others = [
        subprocess.Popen([*sys.orig_argv[:-1], json.dumps({**told, "share": share})])  # noqa: S603 - what we are ourselves
        for share in shares
    ]
    task = Task(
        url=os.environ["DATABASE_URL"],
        landing=Path(told["landing"]),
        table=told["table"],
        scratch=Path(told["scratch"]),
        processes=told["processes"],
        share=told["share"],
        copy_files=tuple(map(Path, told["copy_files"])),
    )
    try:
        _function(told["entry"])(task)
    finally:
        exit_codes = [other.wait() for other in others]
    if any(exit_codes):
        raise SystemExit(f"processes beside the first ended with exit codes {exit_codes}")
    if told["share"] == 0 and told["after"]:
        _function(told["after"])(task)


def _function(reference: str) -> Callable[[Task], None]:
    module, _, name = reference.partition(":")
    function: Callable[[Task], None] = getattr(importlib.import_module(module), name)
    return function


if __name__ == "__main__":
    main()
