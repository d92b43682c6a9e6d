"""The process that keeps a host's namespaces and does what has to be done inside: `keeper.py NAME`.

Without a name it stays in the machine's own namespaces, where it looks after the link that leads to the hosts. Commands
come as lines of JSON, `[method, arguments]`, and each is answered by one line. When its input ends, because the block
that made it has ended or because its maker was killed, it kills what is left in its namespace, and is gone; its namespaces
with it.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

_CLONE_NEWUTS, _CLONE_NEWNET = 0x04000000, 0x40000000
_DEADLINE_S = 10.0
_POLL_S = 0.005


class _Keeper:
    """What a line of input may ask for: the public methods."""

    def __init__(self, netlink: Any, *, is_outside: bool) -> None:  # noqa: ANN401 - pyroute2 has no types
        self._netlink = netlink
        self._is_outside = is_outside
        self._claims: list[socket.socket] = []
        self._links: list[str] = []
        self._slow_links: dict[str, subprocess.Popen[bytes]] = {}

    def make_switch(self) -> None:
        """A bridge, to which each host's link is joined."""
        self._netlink.link("add", ifname="switch", kind="bridge")
        self._netlink.link("set", index=self._index("switch"), state="up")

    def join(self, *, port: str, pid: int, link: str) -> None:
        """Join the bridge by a port whose other end is a link in the namespace of that process."""
        self._netlink.link("add", ifname=port, kind="veth", peer={"ifname": link, "net_ns_pid": pid})
        self._netlink.link("set", index=self._index(port), master=self._index("switch"), state="up")

    def slow(self, *, port: str, hardware: str, delay_s: float, bytes_per_s: float) -> None:
        """Have what passes between a port and a hardware address be late; with 0 and 0 not any more."""
        if port not in self._slow_links:
            if not delay_s and not bytes_per_s:
                return
            inner, outer = f"{port}i", f"{port}o"
            self._netlink.link("add", ifname=inner, kind="veth", peer={"ifname": outer})
            for link in (inner, outer):
                self._netlink.link("set", index=self._index(link), state="up")
            self._netlink.link("set", index=self._index(port), master=0)
            self._netlink.link("set", index=self._index(outer), master=self._index("switch"))
            program = Path(__file__).with_name("slow_link.py")
            slow_link = subprocess.Popen(  # noqa: S603 - this package's own program
                [sys.executable, "-I", "-S", program, port, inner], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert slow_link.stdout is not None  # noqa: S101 - for the types
            slow_link.stdout.readline()
            self._slow_links[port] = slow_link
        stdin = self._slow_links[port].stdin
        assert stdin is not None  # noqa: S101 - for the types
        stdin.write(json.dumps([hardware, delay_s, bytes_per_s]).encode() + b"\n")
        stdin.flush()

    def set_up(self, *, link: str, address: str, prefix: int) -> str:
        """Give the link its address, and return its hardware address."""
        if self._is_outside:
            self._links.append(link)
        else:
            self._netlink.link("set", index=self._index("lo"), state="up")
        index = self._index(link)
        self._netlink.addr("add", index=index, address=address, prefixlen=prefix)
        self._netlink.link("set", index=index, state="up")
        return str(self._netlink.get_links(index)[0].get("address"))

    def set_neighbour(self, *, link: str, address: str, hardware: str) -> None:
        """Send what is for the address to that hardware address from now on, whoever has it."""
        self._netlink.neigh(
            "replace", dst=address, lladdr=hardware, ifindex=self._index(link), state="permanent", family=socket.AF_INET
        )

    def claim(self, *, name: str) -> bool:
        """Reserve a name among all keepers of this namespace, until this one ends."""
        claimed = socket.socket(socket.AF_UNIX)
        try:
            claimed.bind(f"\0{name}")
        except OSError:
            claimed.close()
            return False
        self._claims.append(claimed)
        return True

    def routes(self) -> list[str]:
        """The networks that this namespace has a route to, as `address/prefix`."""
        routes = self._netlink.get_routes(family=socket.AF_INET)
        return [f"{route.get('dst')}/{route['dst_len']}" for route in routes if route.get("dst")]

    def pids(self) -> list[int]:
        """The processes in this namespace but this one; not those that have ended."""
        return sorted(self._newest_first())

    def kill(self) -> list[int]:
        """SIGKILL all processes, and those that they start meanwhile; return whom, once all are gone."""
        return sorted(self._signal_all(signal.SIGKILL, are_done="", otherwise="do not end"))

    def freeze(self) -> list[int]:
        """SIGSTOP all processes, and those that they start meanwhile; return them, once all stand still."""
        self._signal_all(signal.SIGSTOP, are_done="TXZ", otherwise="do not stop")
        return self.pids()

    def thaw(self) -> None:
        """SIGCONT all processes."""
        for pid in self.pids():
            _send(signal.SIGCONT, pid)

    def _signal_all(self, number: signal.Signals, *, are_done: str, otherwise: str) -> set[int]:
        """Send a signal to all processes until each has one of these states; return whom.

        A signal that was sent takes a moment, in which its process may make another one behind a look at all of them. So
        they are done when a second look, which began when all were, finds no other.
        """
        told: set[int] = set()
        deadline = time.monotonic() + _DEADLINE_S
        clean_looks = 0
        while clean_looks < 2:  # noqa: PLR2004 - see above
            left = []
            for pid in self._newest_first():
                if _state(pid) not in are_done:
                    _send(number, pid)  # at once: by the end of the look it may have made another one
                    left.append(pid)
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes {left} {otherwise} within {_DEADLINE_S:.0f} s")
            if left and told.issuperset(left):
                time.sleep(_POLL_S)
            clean_looks = 0 if left else clean_looks + 1
            told.update(left)
        return told

    def _newest_first(self) -> Iterator[int]:
        if self._is_outside:
            raise RuntimeError("the machine's own processes are not a host's")
        mine = os.stat("/proc/self/ns/net")  # noqa: PTH116 - a path for each process of the machine takes too long
        for pid in sorted(map(int, filter(str.isdigit, os.listdir("/proc"))), reverse=True):  # noqa: PTH208 - as above
            with contextlib.suppress(OSError):  # a process that has ended has no namespace any more
                its = os.stat(f"/proc/{pid}/ns/net")  # noqa: PTH116 - as above
                if os.path.samestat(its, mine) and pid != os.getpid():
                    yield pid

    def close(self) -> None:
        """Leave nothing behind."""
        if not self._is_outside:
            self.kill()
        for link in self._links:
            for index in self._netlink.link_lookup(ifname=link):
                self._netlink.link("del", index=index)

    def _index(self, link: str) -> int:
        return int(self._netlink.link_lookup(ifname=link)[0])


def _send(number: signal.Signals, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _state(pid: int) -> str:
    """The letter of `ps`; X where there is no such process any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0].upper()
    except OSError:
        return "X"


def _make_namespaces(name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET | _CLONE_NEWUTS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    socket.sethostname(name)


def main() -> None:
    """Entry point of the process."""
    name = sys.argv[1]
    with contextlib.suppress(PermissionError):
        os.nice(
            -15
        )  # faster than those who make processes while they are killed or frozen, however busy the machine is
    if name:
        _make_namespaces(name)
    with IPRoute() as netlink:
        keeper = _Keeper(netlink, is_outside=not name)
        try:
            print("{}", flush=True)  # noqa: T201 - it is there
            for line in sys.stdin:
                method, arguments = json.loads(line)
                try:
                    answer = {"result": getattr(keeper, method)(**arguments)}
                except Exception as error:  # noqa: BLE001 - its maker raises it
                    answer = {"error": f"{type(error).__name__}: {error}"}
                print(json.dumps(answer), flush=True)  # noqa: T201 - the answer
        finally:
            keeper.close()


if __name__ == "__main__":
    main()
