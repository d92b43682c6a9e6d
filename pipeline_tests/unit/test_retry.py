"""What is tried again, and what ends the trying."""

import asyncio

import pytest

from pipeline.postgres.retry import retrying
from pipeline.settings import WriterSettings

_SETTINGS = WriterSettings(retry_initial_s=0.001, retry_max_s=0.01, retry_budget_s=20)


def test_a_cancel_ends_the_work_and_is_not_taken_for_a_fault_of_the_database() -> None:
    async def story() -> int:
        tries = 0
        waiting = asyncio.Event()

        async def wait_for_ever_at_first() -> None:
            nonlocal tries
            tries += 1
            waiting.set()
            if tries == 1:
                await asyncio.Event().wait()

        work = asyncio.create_task(retrying(_SETTINGS)(wait_for_ever_at_first))
        await waiting.wait()
        work.cancel()
        await asyncio.wait({work})
        assert work.cancelled()
        return tries

    assert asyncio.run(story()) == 1


@pytest.mark.parametrize("fault", [ConnectionResetError("gone"), ConnectionRefusedError("not there")])
def test_a_lost_connection_is_tried_again_until_the_work_is_done(fault: OSError) -> None:
    async def story() -> str:
        faults = iter([fault, fault])

        async def work() -> str:
            for met in faults:
                raise met
            return "done"

        return await retrying(_SETTINGS)(work)

    assert asyncio.run(story()) == "done"


def test_a_mistake_of_our_own_is_not_tried_again() -> None:
    async def story() -> None:
        mistakes = iter([ZeroDivisionError()])

        async def work() -> None:
            for met in mistakes:
                raise met

        await retrying(_SETTINGS)(work)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(story())
