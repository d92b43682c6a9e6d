"""A network of the test's own, in which packets can vanish: a namespace, and a pair of virtual links from it to the server.

A link that drops everything is what a pulled cable, a lost route or a firewall without manners looks like: no reset, no
refusal, only silence. Here each end is told a wrong hardware address of the other, so that its packets reach nobody.
"""

import contextlib
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

__all__ = ["Network", "network"]

_NOBODY = "02:00:00:00:00:01"
_numbers = itertools.count(1)  # a namespace that was deleted goes on for as long as a process in it does


@dataclass(frozen=True)
class Network:
    """`server` is the address to listen on, `command` what to start a process with that lives at the other end."""

    namespace: str
    server: str
    client: str
    server_link: str
    client_link: str

    @property
    def command(self) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.namespace}"]

    def swallow(self) -> None:
        """From now on no packet arrives, in either direction."""
        self._set_neighbours(_NOBODY, _NOBODY)

    def repair(self) -> None:
        """Let packets through."""
        self._set_neighbours(
            _run("cat", f"/sys/class/net/{self.server_link}/address"),
            _run(*self.command, "ip", "-br", "link", "show", self.client_link).split()[2],
        )

    def _set_neighbours(self, of_server: str, of_client: str) -> None:
        neighbour = ("ip", "neigh", "replace", "nud", "permanent")
        _run(*neighbour, self.client, "lladdr", of_client, "dev", self.server_link)
        _run(*self.command, *neighbour, self.server, "lladdr", of_server, "dev", self.client_link)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A working network; skips the test, saying why, where one cannot be made."""
    if missing := [program for program in ("ip", "nsenter") if shutil.which(program) is None]:
        pytest.skip(f"no network namespace without the program {missing[0]}")
    number = os.getpid()
    name = f"rl{number}n{next(_numbers)}"
    prefix, first = f"198.18.{number >> 6 & 255}", (number & 63) * 4  # a range set aside for tests, RFC 2544
    made = Network(name, f"{prefix}.{first + 1}", f"{prefix}.{first + 2}", f"{name}a", f"{name}b")
    with contextlib.ExitStack() as stack:
        _make_or_skip("ip", "netns", "add", name)
        stack.callback(_run, "ip", "netns", "delete", name)
        ends = ("type", "veth", "peer", "name", made.client_link, "netns", name)
        _make_or_skip("ip", "link", "add", made.server_link, *ends)
        stack.callback(_run, "ip", "link", "delete", made.server_link)
        _run("ip", "addr", "add", f"{made.server}/30", "dev", made.server_link)
        _run("ip", "link", "set", made.server_link, "up")
        _run(*made.command, "ip", "addr", "add", f"{made.client}/30", "dev", made.client_link)
        _run(*made.command, "ip", "link", "set", made.client_link, "up")
        made.repair()
        yield made


def _make_or_skip(*command: str) -> None:
    """What needs rights, or a kernel's module, that not everybody has."""
    try:
        _run(*command)
    except subprocess.CalledProcessError as error:
        if not re.search("(?i)not permitted|denied|not supported|unknown device type", error.stderr):
            raise
        pytest.skip(f"no network can be made here ({' '.join(command[:3])}: {error.stderr.strip()})")


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()
