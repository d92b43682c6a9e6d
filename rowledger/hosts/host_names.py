"""The names and numbers of a run's hosts."""

import itertools

from rowledger.hosts.engine import Place
from rowledger.machine import Host

__all__ = ["HostNames"]


class HostNames:
    """A host that comes again gets another number, by which its sessions are told from those that it had before."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._unused: dict[str, Host] = {}

    def host(self, place: Place) -> Host | None:
        """The host's name, which no other one has, and its number in this run; None once the numbers are used up."""
        if (unused := self._unused.pop(place.identifier, None)) is not None:
            return unused
        number = next(self._numbers)
        if number > Host.NUMBER_MAX:
            return None
        for name in (place.name, f"{place.name} ({place.address})", f"{place.name} ({place.identifier})"):
            if self._names.setdefault(name, place.identifier) == place.identifier:
                return Host(name, number)
        raise AssertionError("identifiers differ")

    def give_back(self, place: Place, host: Host) -> None:
        """Keep the number for the host's next try, since it has had no session under it."""
        self._unused[place.identifier] = host
