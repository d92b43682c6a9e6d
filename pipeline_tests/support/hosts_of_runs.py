"""What can be done to the hosts of runs, whatever they are: processes behind relays, or nodes of a Ray cluster."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pipeline_tests.support.proxy import Proxy

__all__ = ["HostOfRuns", "HostsOfRuns"]


class HostOfRuns(Protocol):
    """One host; `proxy` is its way to PostgreSQL, and `delay_s` what its way to heads takes longer."""

    delay_s: float

    @property
    def name(self) -> str: ...
    @property
    def proxy(self) -> Proxy: ...
    def agent_pids(self) -> list[int]:
        """What is at work there for runs."""

    def signal(self, number: int) -> list[int]:
        """Send all of its processes a signal; returns their pids."""


class HostsOfRuns(Protocol):
    """The hosts; `up` are those that there are now, by name."""

    @property
    def up(self) -> Mapping[str, Any]: ...
    def run_options(self) -> dict[str, Any]:
        """What `run_process.start` has to know for a run whose chunks are to be committed here."""

    def add(self, name: str) -> HostOfRuns:
        """A host that comes up."""

    def add_new(self) -> HostOfRuns | None:
        """A host that there was not before, if there can be one."""

    def kill(self, host: Any, *, silently: bool) -> list[int]:
        """SIGKILL all of it, as a power cut does; returns the pids. Where it ends silently, no head is told."""

    def cut(self, host: Any) -> None:
        """Let nothing pass between heads and this host, without telling either side."""

    def heal(self, host: Any) -> None:
        """Let it pass again."""

    def workers_of(self, head_pid: int) -> Sequence[tuple[HostOfRuns, int]]:
        """The workers of one run on the hosts."""

    def homes(self) -> set[Path]:
        """ROWLEDGER_HOME of each host that there was."""
