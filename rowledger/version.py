"""The version of this Rowledger, a different number for each build and for each commit of a checkout.

`0.2.0.dev20261129081500+gabcdef012` is the commit `abcdef012` of that second (UTC) on the way to 0.2.0. The build
backend runs this file alone, so it imports only the standard library. To make a release, remove `.dev` from NEXT.
"""

import os
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

__all__ = ["version"]

NEXT = "0.2.0.dev"

_GIT_TIMEOUT_S = 10


@cache
def version() -> str:
    """The version of the checkout that this file is in, or of the installed package."""
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / ".git").exists() and (commit := _commit(checkout)):
        return f"{NEXT}{commit}" if NEXT.endswith(".dev") else NEXT
    try:
        return metadata.version("rowledger")
    except metadata.PackageNotFoundError:  # a source tree without git, during a build
        return f"{NEXT}0" if NEXT.endswith(".dev") else NEXT


def _commit(checkout: Path) -> str:
    """The version's suffix, `20261129081500+gabcdef012`; empty where git is not installed or refuses the folder."""
    command = ["git", "-C", str(checkout), "log", "-1", "--format=%cd+g%h", "--abbrev=9"]
    command += ["--date=format-local:%Y%m%d%H%M%S"]
    try:
        told = subprocess.run(  # noqa: S603 - no part of it comes from outside
            command,
            env={**os.environ, "TZ": "UTC0"},
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip()
