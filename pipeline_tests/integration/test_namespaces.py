"""Hosts made of network namespaces: that they are apart, that faults do what they say, and that nothing stays behind."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.namespaces import Host, Network, Outside, may_make_namespaces, network_of_hosts
from pipeline_tests.support.hosts import hosts
from pipeline_tests.support.waiting import is_stopped, wait_until

_PORT = 7000
_HELLO = f"""
import socket
with socket.create_server(("", {_PORT})) as server:
    print("listening", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            while line := connection.recv(100):
                connection.sendall(socket.gethostname().encode() + b": " + line)
"""
_ASK = f"""
import socket, sys
try:
    with socket.create_connection((sys.argv[1], {_PORT}), timeout=float(sys.argv[2])) as connection:
        connection.sendall(b"hello")
        print(connection.recv(100).decode())
except OSError as error:
    print(type(error).__name__)
"""
_TALK = f"""
import socket, sys
with socket.create_connection((sys.argv[1], {_PORT}), timeout=60) as connection:
    for line in sys.stdin:
        connection.sendall(line.strip().encode())
        print(connection.recv(100).decode(), flush=True)
"""
_FAMILY = """
import os, time
os.setsid()
if os.fork() == 0:
    os.setsid()
print(os.getpid(), flush=True)
time.sleep(600)
"""
_BREEDER = """
import os, time
while True:
    if os.fork():
        time.sleep(600)
    time.sleep(0.01)
"""
_MAKER = """
import time
from pipeline.namespaces import network_of_hosts
with network_of_hosts("left-behind") as network:
    orphan = network.hosts["left-behind"].run(["sleep", "600"], start_new_session=True)
    print(orphan.pid, network.outside.link, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def net() -> Iterator[Network]:
    with hosts("north", "south", "east") as made:
        yield made


def _python(host: Host, code: str, *arguments: str) -> "subprocess.Popen[str]":
    return host.run(
        [sys.executable, "-I", "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _serve(host: Host) -> None:
    assert _line(_python(host, _HELLO)) == "listening"


def _ask(host: Host, other: Host | Outside, *, timeout_s: float = 30) -> str:
    return _python(host, _ASK, other.address, str(timeout_s)).communicate(timeout=60)[0].strip()


def _lives(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _links() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def test_hosts_have_names_and_loopbacks_of_their_own_and_reach_each_other(net: Network) -> None:
    north, south, east = net.hosts.values()
    _serve(north)
    _serve(south)
    assert _ask(east, north) == "north: hello"
    assert _ask(east, south) == "south: hello"
    alone = _python(east, _ASK, "127.0.0.1", "30").communicate(timeout=60)[0].strip()
    assert alone == "ConnectionRefusedError", "others' loopback"


def test_hosts_reach_what_listens_on_the_machine_and_the_machine_reaches_them(net: Network) -> None:
    north, _, east = net.hosts.values()
    with socket.create_server((net.outside.address, _PORT)) as server:
        server.settimeout(60)
        asking = _python(north, _ASK, net.outside.address, "60")
        connection, (address, _) = server.accept()
        with connection:
            connection.sendall(b"from outside")
        assert (address, asking.communicate(timeout=60)[0].strip()) == (north.address, "from outside")
    _serve(east)
    with socket.create_connection((east.address, _PORT), timeout=60) as connection:
        connection.sendall(b"hello")
        assert connection.recv(100) == b"east: hello"


def test_a_cut_is_silent_and_between_two_alone_and_a_connection_outlasts_it(net: Network) -> None:
    north, south, east = net.hosts.values()
    _serve(south)
    talk = _python(north, _TALK, south.address)
    assert talk.stdin is not None
    print("before", file=talk.stdin, flush=True)
    assert _line(talk) == "south: before"
    north.cut(south)
    print("meanwhile", file=talk.stdin, flush=True)
    assert _ask(north, south, timeout_s=1) == "TimeoutError"
    _serve(north)
    assert _ask(south, north, timeout_s=1) == "TimeoutError"
    assert _ask(east, north) == "north: hello"
    assert talk.poll() is None
    north.heal(south)
    assert _line(talk) == "south: meanwhile"
    assert _ask(south, north) == "north: hello"


def test_a_host_is_cut_from_the_machine_and_healed(net: Network) -> None:
    north, south, _ = net.hosts.values()
    _serve(north)
    _serve(south)
    north.cut(net.outside)
    with pytest.raises(TimeoutError):
        socket.create_connection((north.address, _PORT), timeout=1)
    socket.create_connection((south.address, _PORT), timeout=60).close()
    north.heal(net.outside)
    socket.create_connection((north.address, _PORT), timeout=60).close()


_PING = f"""
import socket, sys, time
with socket.create_connection((sys.argv[1], {_PORT}), timeout=60) as connection:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    best = 60.0
    for _ in range(5):
        begin = time.monotonic()
        connection.sendall(b"hello")
        connection.recv(100)
        best = min(best, time.monotonic() - begin)
    print(best)
"""
_SINK = f"""
import socket
with socket.create_server(("", {_PORT + 1})) as server:
    print("listening", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            while connection.recv(2**16):
                pass
"""
_SEND = f"""
import socket, sys, time
with socket.create_connection((sys.argv[1], {_PORT + 1}), timeout=60) as connection:
    begin = time.monotonic()
    connection.sendall(bytes(1_000_000))
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)
    print(time.monotonic() - begin)
"""


def test_a_slow_link_delays_what_passes_between_two_and_nothing_else(net: Network) -> None:
    def seconds(host: Host, code: str) -> float:
        return float(_python(host, code, south.address).communicate(timeout=60)[0])

    north, south, east = net.hosts.values()
    _serve(south)
    assert _line(_python(south, _SINK)) == "listening"
    north.slow(south, delay_s=0.5)
    assert seconds(north, _PING) >= 1
    assert seconds(east, _PING) < 1
    north.slow(south, delay_s=0, bytes_per_s=500_000)
    assert seconds(north, _SEND) >= 1.5
    north.heal(south)
    assert seconds(north, _PING) < 1
    assert seconds(north, _SEND) < 1.5


def test_killing_a_host_kills_also_what_has_left_its_session_and_nobody_elsewhere(net: Network) -> None:
    north, south, _ = net.hosts.values()
    family, other = _python(north, _FAMILY), _python(south, _FAMILY)
    pids = {int(_line(family)), int(_line(family))}
    others = {int(_line(other)), int(_line(other))}
    assert len(pids) == 2
    assert set(north.pids()) == pids
    assert set(north.kill_all()) == pids
    assert family.wait(60) == -signal.SIGKILL
    assert north.pids() == []
    assert set(south.pids()) == others


def test_a_frozen_host_stands_still_though_it_goes_on_making_processes_and_a_thawed_one_goes_on(net: Network) -> None:
    north = net.hosts["north"]
    _python(north, _BREEDER)
    wait_until(lambda: len(north.pids()) > 5, "it makes processes")
    frozen = north.freeze()
    assert all(map(is_stopped, frozen))
    assert north.pids() == frozen
    north.thaw()
    wait_until(lambda: len(north.pids()) > len(frozen), "it goes on")


def test_a_program_that_is_not_there_is_an_error(net: Network) -> None:
    with pytest.raises(OSError, match=r"no-such-program on north: .*No such file"):
        net.hosts["north"].run(["no-such-program"])


def test_networks_side_by_side_have_addresses_of_their_own() -> None:
    with hosts("one") as one, hosts("one") as other:
        assert one.outside.address.rpartition(".")[0] != other.outside.address.rpartition(".")[0]
        _serve(one.hosts["one"])
        socket.create_connection((one.hosts["one"].address, _PORT), timeout=60).close()


def test_nothing_is_left_behind_after_a_failure() -> None:
    children = psutil.Process().children()
    with contextlib.suppress(ZeroDivisionError), hosts("one", "two") as made:
        family = _python(made.hosts["one"], _FAMILY)
        pids = [int(_line(family)), int(_line(family))]
        link = made.outside.link
        assert link in _links()
        made.hosts["one"].freeze()
        _ = 1 / 0
    assert not any(map(_lives, pids))
    assert family.returncode == -signal.SIGKILL
    assert link not in _links()
    assert psutil.Process().children() == children


@pytest.fixture
def maker() -> Iterator["subprocess.Popen[str]"]:
    """A process that makes a host with a process on it, and stays."""
    if not may_make_namespaces():
        pytest.skip("no network namespaces here")
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", _MAKER], cwd=root, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_nothing_is_left_behind_of_a_killed_process(maker: "subprocess.Popen[str]") -> None:
    pid, link = _line(maker).split()
    assert link in _links()
    maker.kill()
    wait_until(lambda: not _lives(int(pid)), "the host's process is gone")
    wait_until(lambda: link not in _links(), "the link is gone")


def test_what_nobody_could_clean_up_is_swept_by_the_next_network(maker: "subprocess.Popen[str]") -> None:
    pid, link = _line(maker).split()
    keepers = [child for child in psutil.Process(maker.pid).children() if child.pid != int(pid)]
    for process in (*keepers, maker):
        process.kill()
    maker.wait(60)
    wait_until(lambda: not any(_lives(keeper.pid) for keeper in keepers), "their keepers are gone")
    assert _lives(int(pid))
    with network_of_hosts("one"):
        wait_until(lambda: not _lives(int(pid)), "the host's process is gone")
    wait_until(lambda: link not in _links(), "the link is gone")


@pytest.mark.parametrize("method", ["kill", "freeze", "thaw", "pids"])
def test_the_machines_own_processes_are_left_alone(net: Network, method: str) -> None:
    with pytest.raises(RuntimeError, match="the machine's own processes are not a host's"):
        net.outside.keeper.ask(method)
