"""Which machine a process is on: a pid means nothing without its host."""

import os
from dataclasses import dataclass
from typing import ClassVar, Self

from rowledger.settings import host_name

__all__ = ["Host", "ProcessIdentity"]


@dataclass(frozen=True, slots=True)
class Host:
    """A machine that runs workers, by the name that people read and its number in the run, which session names carry.

    Number 0 is the machine of the run's own process, 1 to 99 are the others. Raises ValueError for another number.
    """

    name: str
    number: int = 0

    NUMBER_MAX: ClassVar[int] = 99  # two digits: the name of a session has no room for more

    def __post_init__(self) -> None:
        if not 0 <= self.number <= self.NUMBER_MAX:
            raise ValueError(f"a host's number is 0 to {self.NUMBER_MAX}, not {self.number}")

    @classmethod
    def this(cls) -> Self:
        """The machine of this process, as the host of a run that it has begun."""
        return cls(host_name())

    def told(self, pid: int) -> str:
        """A pid on this host as the run's log and errors say it: `4711`, or `4711 on node-3` beyond the run's own host."""
        return f"{pid} on {self.name}" if self.number else str(pid)


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process by its pid and the name of its host."""

    pid: int
    host: str

    @classmethod
    def this(cls, host: Host | None = None) -> Self:
        """The calling process, on its host as the run knows it."""
        return cls(os.getpid(), (host or Host.this()).name)

    def __str__(self) -> str:
        return f"{self.pid} on {self.host}"
