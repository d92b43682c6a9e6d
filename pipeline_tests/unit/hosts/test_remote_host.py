"""The head's end of a host: nothing that a host does not do makes a run wait for ever."""

import asyncio
from pathlib import Path

import pytest

from pipeline_tests.support.partitions import partition_of
from pipeline_tests.support.tables import DAY, EVENTS
from rowledger.chunk.jobs import ChunkJob
from rowledger.hosts.engine import HostGone, Method
from rowledger.hosts.messages import Commit, News
from rowledger.hosts.remote_host import RemoteHost
from rowledger.machine import Host
from rowledger.settings import WriterSettings
from rowledger.spec.load_handle import LoadHandle
from rowledger.spec.manifest import ChunkDescriptor, ChunkPlan


class _Agent:
    """An agent that tells its news and answers no chunk; it has heard of the chunk, or not."""

    def __init__(self, *, has_heard: bool) -> None:
        self._has_heard = has_heard
        self._requests: tuple[int, ...] = ()

    async def call(self, method: Method, message: bytes, files: bytes = b"") -> bytes:
        assert not files
        if method == "news":
            await asyncio.sleep(0.01)
            return News(requests=self._requests).model_dump_json().encode()
        if self._has_heard:
            self._requests = (Commit.model_validate_json(message).number,)
        return await asyncio.get_running_loop().create_future()

    async def end(self) -> None: ...


def _listening(*, has_heard: bool, wait_s: float) -> None:
    """Have a chunk committed by such a host, and listen to its news."""
    descriptor = ChunkDescriptor(path="", file_bytes=0, file_digest="", row_offset=0, rows=1)
    job = ChunkJob(
        LoadHandle(7, 1), partition_of(EVENTS, DAY), ChunkPlan(0, 0, descriptor), (), attempt=1, dead_letters_max=0
    )

    async def scenario() -> None:
        limits = WriterSettings(chunk_deadline_s=1)
        remote = RemoteHost(Host("north", 1), _Agent(has_heard=has_heard), limits, Path("spool"))
        committing = asyncio.create_task(remote.commit(job))
        try:
            async with asyncio.timeout(wait_s):
                await remote.listen(lambda *_: None, lambda _: None, lambda: None)
        finally:
            committing.cancel()

    asyncio.run(scenario())


def test_a_host_that_has_never_heard_of_a_chunk_is_lost_after_the_chunk_s_deadline() -> None:
    with pytest.raises(HostGone, match=r"has not heard of a chunk for 1 s \(chunk_deadline_s\)"):
        _listening(has_heard=False, wait_s=30)


def test_a_host_that_has_a_chunk_is_not_lost_for_it() -> None:
    with pytest.raises(TimeoutError):
        _listening(has_heard=True, wait_s=1.5)
