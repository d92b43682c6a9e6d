"""The queue of jobs: each request is with one taker, or waits; none is lost with a taker that is cancelled."""

import asyncio
from dataclasses import dataclass

from rowledger.workers.job_queue import JobQueue


@dataclass(eq=False)
class _Slot:
    is_up: bool = True


def test_a_request_is_not_handed_to_a_taker_that_was_cancelled_a_moment_before() -> None:
    async def scenario() -> list[str]:
        queue: JobQueue[str] = JobQueue()
        taking = asyncio.create_task(queue.take(_Slot()))
        await asyncio.sleep(0)
        taking.cancel()
        queue.put("chunk 7", 0)  # before the task has run its handler
        await asyncio.gather(taking, return_exceptions=True)
        return queue.drain()

    assert asyncio.run(scenario()) == ["chunk 7"]


def test_a_request_that_was_handed_to_a_taker_which_is_cancelled_before_it_sees_it_goes_to_the_next() -> None:
    async def scenario() -> str | None:
        queue: JobQueue[str] = JobQueue()
        taking = asyncio.create_task(queue.take(_Slot()))
        await asyncio.sleep(0)
        queue.put("chunk 7", 0)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        return await queue.take(_Slot())

    assert asyncio.run(scenario()) == "chunk 7"


def test_takers_that_were_cancelled_a_moment_before_are_not_dismissed_in_place_of_others() -> None:
    async def scenario() -> tuple[int, str | None]:
        queue: JobQueue[str] = JobQueue()
        cancelled, idle = (asyncio.create_task(queue.take(_Slot(is_up))) for is_up in (False, True))
        await asyncio.sleep(0)
        cancelled.cancel()
        leaving = queue.dismiss(1)
        await asyncio.gather(cancelled, return_exceptions=True)
        return len(leaving), await idle

    assert asyncio.run(scenario()) == (1, None)
