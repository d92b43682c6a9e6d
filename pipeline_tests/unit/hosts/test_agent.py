"""An agent ends itself where nobody is left to do so."""

import asyncio
import importlib
import subprocess
import sys

import pytest

from rowledger.hosts.agent import Agent
from rowledger.hosts.messages import Open, Refused, decode_open_answer
from rowledger.machine import Host
from rowledger.settings import WriterSettings


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("rowledger.hosts.agent"), "UNOPENED_S", 0.0)


@pytest.mark.usefixtures("at_once")
def test_an_agent_to_which_no_head_comes_leaves() -> None:
    async def scenario() -> None:
        left = asyncio.Event()
        await Agent(abandoned=left.set).wait_to_be_opened()
        assert left.is_set()

    asyncio.run(scenario())


@pytest.mark.usefixtures("at_once")
def test_an_agent_that_has_refused_leaves_although_its_head_does_not_come_back() -> None:
    async def scenario() -> None:
        left = asyncio.Event()
        agent = Agent(abandoned=left.set)
        assert isinstance(decode_open_answer(await agent.open(b"{}")), Refused)
        async with asyncio.timeout(10):
            await left.wait()

    asyncio.run(scenario())


def test_an_agent_that_has_refused_waits_for_its_head_no_longer_than_a_head_may_be_silent() -> None:
    async def scenario() -> None:
        left = asyncio.Event()
        agent = Agent(abandoned=left.set)
        order = Open(
            holder="0" * 32,
            run_id=None,
            host=Host("north", 1),
            spec="{}",
            path=(),
            settings=WriterSettings(),
            url_variable="ROWLEDGER_DATABASE_URL",
            workers_first=1,
            silent_s=0.0,
            versions={"rowledger": "another"},
            contract="",
            modules={},
        )
        answer = decode_open_answer(await agent.open(order.model_dump_json().encode()))
        assert isinstance(answer, Refused)
        assert "it runs other code than the head" in answer.reason
        async with asyncio.timeout(10):
            await left.wait()

    asyncio.run(scenario())


def test_an_agent_and_its_head_start_without_the_libraries_that_only_workers_need() -> None:
    heavy = "{'numpy', 'pandas', 'polars', 'pyarrow', 'ray'}"
    modules = "rowledger.hosts.agent, rowledger.hosts.agent_thread, rowledger.hosts.host_pool, rowledger.load.pools"
    program = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
