"""Hosts that are loopback addresses: what is started on one is killed with all below it, and nothing stays behind."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.loopback_hosts import LoopbackHost, loopback_hosts
from pipeline_tests.support.waiting import wait_until

_FAMILY = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(600)
    os._exit(0)
print(os.getpid(), flush=True)
time.sleep(600)
"""
_MAKER = f"""
import sys, time
from pipeline.loopback_hosts import loopback_hosts
with loopback_hosts("one") as hosts:
    hosts["one"].run([sys.executable, "-I", "-c", {_FAMILY!r}])
    time.sleep(600)
"""


@pytest.fixture
def hosts() -> Iterator[dict[str, LoopbackHost]]:
    with loopback_hosts("one", "two") as made:
        yield made


def _family(host: LoopbackHost) -> "subprocess.Popen[str]":
    return host.run([sys.executable, "-I", "-c", _FAMILY], stdout=subprocess.PIPE, text=True)


def _pids(process: "subprocess.Popen[str]") -> set[int]:
    """A parent, and a grandchild that has left its session and has no parent any more."""
    assert process.stdout is not None
    return {int(process.stdout.readline()), int(process.stdout.readline())}


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_killing_a_host_kills_also_what_has_left_its_session_and_nobody_elsewhere(
    hosts: dict[str, LoopbackHost],
) -> None:
    one, other = _family(hosts["one"]), _family(hosts["two"])
    pids, others = _pids(one), _pids(other)
    assert set(hosts["one"].kill_all()) == pids
    assert one.returncode == 128 + signal.SIGKILL
    assert not any(map(_lives, pids))
    assert hosts["one"].pids() == []
    assert set(hosts["two"].pids()) == others


def test_a_program_ends_with_its_own_exit_code(hosts: dict[str, LoopbackHost]) -> None:
    assert hosts["one"].run([sys.executable, "-I", "-c", "raise SystemExit(7)"]).wait(60) == 7


def test_nothing_is_left_behind_of_a_killed_process() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", _MAKER], cwd=root, stdout=subprocess.PIPE, text=True) as maker:
        pids = _pids(maker)
        assert all(map(_lives, pids))
        maker.kill()
    wait_until(lambda: not any(map(_lives, pids)), "what it had started is gone")
