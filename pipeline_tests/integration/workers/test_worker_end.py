"""How the supervisor ends a worker."""

import asyncio
import os
import signal

from pydantic import SecretStr

from pipeline_tests.support.tables import EVENTS
from rowledger.settings import WriterSettings
from rowledger.workers.handle import WorkerHandle
from rowledger.workers.messages import Hello


def test_a_worker_that_is_ended_before_it_has_read_its_messages_is_no_error() -> None:
    logged: list[str] = []

    async def end_at_once() -> WorkerHandle:
        hello = Hello(
            url=SecretStr("postgresql://nobody@localhost/none"),
            spec=EVENTS.as_json(),
            path=(),
            settings=WriterSettings(),
            holder="0" * 32,
        )
        worker = await WorkerHandle.start(hello, hello.settings, lambda _level, message: logged.append(message))
        os.kill(worker.pid, signal.SIGSTOP)
        await worker.discard()
        return worker

    assert not asyncio.run(end_at_once()).is_running
    assert logged == []
