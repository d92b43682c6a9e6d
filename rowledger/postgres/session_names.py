"""The names of a run's sessions on the server: how they are made, and by which patterns they are found.

`sql/queries/` and `ledger/script.py` know their form too; `connections.sql` gives a name to the session with a run's claim. A
pooler may append the client's address (PgBouncer's `application_name_add_host`), so a pattern leaves the end open; the run's
32 digits say enough.
"""

import re
from typing import Literal, cast

__all__ = ["SessionRole", "names_of_host", "names_of_run", "role_and_pid", "session_name"]

SessionRole = Literal["control", "worker"]
"""Whose session it is: that of a supervisor, or of a worker, whose pid is in the name."""

_NAME_BYTES_MAX = 63  # the server cuts the rest off without a word


def session_name(role: SessionRole, holder: str, *, pid: int | None = None, host_no: int = 0) -> str:
    """The application name of a session that works for the run `holder` (32 hex digits).

    It has the holder, so that a run that takes over a load can end all sessions that its previous holder has open. On another
    host than that of the run's own process, whose number is 0, it has the host's number too, so that all sessions of a lost
    host can be ended: `rowledger worker 12.4194304 of …`, `rowledger control 12 of …`. Raises ValueError for what has no room.
    """
    numbers = ".".join(str(number) for number in (host_no or None, pid) if number is not None)
    name = f"rowledger {role} {numbers} of {holder}" if numbers else f"rowledger {role} of {holder}"
    if len(name.encode()) > _NAME_BYTES_MAX:
        raise ValueError(f"the session name {name!r} is longer than {_NAME_BYTES_MAX} bytes")
    return name


def names_of_run(holder: str) -> list[str]:
    """Patterns for LIKE of all sessions that work for a run."""
    return [f"rowledger % of {holder}%"]


def names_of_host(holder: str, host_no: int) -> list[str]:
    """Patterns for LIKE of all sessions that one of the run's other hosts has open, and of no other host's."""
    # A worker of the run's own host has a name like a supervisor's of another: `rowledger worker 12 of …`, with 12 a pid.
    return [f"rowledger control {host_no} of {holder}%", f"rowledger worker {host_no}.% of {holder}%"]


def role_and_pid(name: str) -> tuple[SessionRole, int | None]:
    """Whose session on another host has this name, and a worker's pid."""
    role, _host_no, pid = cast("re.Match[str]", _ON_ANOTHER_HOST.match(name)).groups()
    return cast("SessionRole", role), int(pid) if pid else None


_ON_ANOTHER_HOST = re.compile(r"rowledger (control|worker) (\d+)(?:\.(\d+))? of ")
