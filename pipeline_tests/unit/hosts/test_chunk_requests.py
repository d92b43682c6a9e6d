"""The lanes of a host: it is given as many chunks at once as it has workers, however their number changes."""

import asyncio
from typing import cast

from pipeline_tests.support.partitions import partition_of
from pipeline_tests.support.tables import DAY, EVENTS
from rowledger.chunk.jobs import ChunkJob
from rowledger.hosts.chunk_requests import ChunkRequests
from rowledger.hosts.remote_host import RemoteHost
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.outcomes import ChunkOutcome, Committed
from rowledger.postgres.outage import OutageGate
from rowledger.settings import WriterSettings
from rowledger.spec.load_handle import LoadHandle
from rowledger.spec.manifest import ChunkDescriptor, ChunkPlan


class _Host:
    """The head's end of a host that holds each chunk until the test lets it go."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.lanes = 0
        self.holding: list[asyncio.Future[ChunkOutcome]] = []

    async def commit(self, _job: ChunkJob) -> ChunkOutcome:
        held: asyncio.Future[ChunkOutcome] = asyncio.get_running_loop().create_future()
        self.holding.append(held)
        try:
            return await held
        finally:
            self.holding.remove(held)


def _job(number: int) -> ChunkJob:
    descriptor = ChunkDescriptor(path="", file_bytes=0, file_digest="", row_offset=0, rows=1)
    return ChunkJob(
        LoadHandle(7, 1),
        partition_of(EVENTS, DAY),
        ChunkPlan(number, number, descriptor),
        (),
        attempt=1,
        dead_letters_max=0,
    )


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_host_whose_workers_become_fewer_is_given_fewer_chunks_at_once_and_all_are_committed() -> None:
    async def scenario() -> tuple[list[int], int]:
        limits = WriterSettings()
        chunks, host = ChunkRequests(limits, cast("OutageGate", None)), _Host(3)
        lanes = [asyncio.create_task(chunks.run_lane(cast("RemoteHost", host))) for _ in range(3)]
        await _settle()
        host.workers = 2  # while all lanes wait for chunks
        asked = [asyncio.create_task(chunks.commit(_job(number))) for number in range(6)]
        await _settle()
        seen = [len(host.holding)]
        host.workers = 1  # while both have one
        while not all(task.done() for task in asked):
            host.holding[0].set_result(Committed(counts=RowCounts()))
            await _settle()
            seen.append(len(host.holding))
        alive = sum(not lane.done() for lane in lanes)
        for lane in lanes:
            lane.cancel()
        return seen, alive

    assert asyncio.run(scenario()) == ([2, 1, 1, 1, 1, 1, 0], 1)
