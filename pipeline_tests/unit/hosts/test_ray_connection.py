"""One process has one connection to Ray, which its runs share."""

import asyncio
import importlib
import subprocess
import sys
import threading
from typing import Any

import pytest

from pipeline_tests.support.waiting import wait_until

pytest.importorskip("ray")


class _Ray:
    """A module `ray` that only connects and disconnects."""

    def __init__(self, *, is_connected: bool = False) -> None:
        self.is_connected = is_connected
        self.said: list[str] = []

    def is_initialized(self) -> bool:
        return self.is_connected

    def init(self, **_settings: Any) -> None:
        assert not self.is_connected
        self.is_connected = True
        self.said.append("init")

    def shutdown(self) -> None:
        self.is_connected = False
        self.said.append("shutdown")


def _use(ray: _Ray, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = importlib.import_module("rowledger.engines.ray")
    monkeypatch.setattr(module, "ray", ray)
    return module.RayEngine


def test_a_run_that_ends_leaves_the_connection_to_the_other_runs_of_its_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = _Ray()
    engine = _use(ray, monkeypatch)

    async def scenario() -> None:
        async with engine(""):
            async with engine(""):
                assert ray.said == ["init"]
            assert ray.said == ["init"]
        assert ray.said == ["init", "shutdown"]

    asyncio.run(scenario())


def test_the_first_run_may_end_before_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = _Ray()
    engine = _use(ray, monkeypatch)

    async def scenario() -> None:
        first, second = engine(""), engine("")
        await first.__aenter__()
        await second.__aenter__()
        await first.__aexit__(None, None, None)
        assert ray.said == ["init"]
        await second.__aexit__(None, None, None)
        assert ray.said == ["init", "shutdown"]

    asyncio.run(scenario())


def test_a_connection_that_the_caller_has_made_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = _Ray(is_connected=True)
    engine = _use(ray, monkeypatch)

    async def scenario() -> None:
        async with engine(""):
            pass

    asyncio.run(scenario())
    assert ray.said == []


def test_a_connection_that_comes_up_after_its_run_was_cancelled_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    ray, may_connect, is_connecting = _Ray(), threading.Event(), threading.Event()
    engine = _use(ray, monkeypatch)
    connect = ray.init

    def slowly(**settings: Any) -> None:
        is_connecting.set()
        assert may_connect.wait(20)
        connect(**settings)

    monkeypatch.setattr(ray, "init", slowly)

    async def scenario() -> None:
        connecting = asyncio.create_task(engine("").__aenter__())
        await asyncio.to_thread(is_connecting.wait, 20)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        may_connect.set()

    asyncio.run(scenario())
    wait_until(lambda: ray.said == ["init", "shutdown"], "the connection is closed")


_TAKES_SIGNALS = """
import asyncio, ctypes, os, signal
from rowledger.engines import ray

libc = ctypes.CDLL(None)
libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]

class Ray:
    def is_initialized(self): return False
    def init(self, **_): libc.signal(signal.SIGTERM, None)
    def shutdown(self): libc.signal(signal.SIGTERM, None)

async def scenario():
    async with ray.RayEngine(""):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)

ray.ray = Ray()
signal.signal(signal.SIGTERM, lambda *_: print("taken"))
asyncio.run(scenario())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="knows the C library of Linux")
def test_sigterm_is_python_s_own_although_ray_takes_it() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _TAKES_SIGNALS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "taken\ntaken\n"), ended.stderr
