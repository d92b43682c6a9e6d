"""An error that nothing waits for is told by its name."""

import asyncio
import gc
import logging

import asyncpg
import pytest

from rowledger.postgres.loop_errors import tell_without_text


def test_an_error_that_nothing_waits_for_is_told_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise asyncpg.CheckViolationError("canary")

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(tell_without_text)
        task = loop.create_task(fail())
        await asyncio.wait({task})
        del task
        gc.collect()

        def callback(_argument: str) -> None:
            raise ValueError("canary")

        loop.call_soon(callback, "canary")
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert "Task exception was never retrieved: check violation (SQLSTATE 23514)" in caplog.text
    assert "Exception in callback" in caplog.text
    assert "canary" not in caplog.text
