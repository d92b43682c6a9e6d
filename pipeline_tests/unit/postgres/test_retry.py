"""What is tried again, and what ends the trying."""

import asyncio

import pytest

from rowledger.postgres.retry import retrying
from rowledger.settings import WriterSettings

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


def test_an_hour_s_work_is_not_given_up_for_one_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr("rowledger.postgres.retry.monotonic", lambda: now_s)
    tries = 0

    async def work() -> str:
        nonlocal now_s, tries
        now_s += 3600
        tries += 1
        if tries == 1:
            raise ConnectionResetError
        return "done"

    assert asyncio.run(retrying(_SETTINGS)(work)) == "done"


def test_waits_end_when_the_budget_is_spent_and_pauses_are_not_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, paused_s, tries = 0.0, 0.0, 0
    monkeypatch.setattr("rowledger.postgres.retry.monotonic", lambda: now_s)

    async def work() -> None:
        nonlocal now_s, paused_s, tries
        tries += 1
        now_s += 6
        if tries == 2:  # an outage, long over the budget
            now_s += 1000
            paused_s += 1000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(retrying(_SETTINGS, paused_s=lambda: paused_s)(work))
    assert tries == 5, "the first failure starts the budget of 20 s, which four more tries of 6 s spend"
