"""A blocking iterator is read from the event loop, in bounded time and memory."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from pipeline_tests.support.waiting import wait_until
from rowledger.machine import in_thread, iterate_in_thread, threads

_LIMITS = {"item_timeout_s": 20.0, "close_timeout_s": 20.0}


class _Numbers:
    """All numbers, which keeps count of how many it has given."""

    def __init__(self) -> None:
        self.given = 0
        self.closed = threading.Event()

    def start(self) -> Iterator[int]:
        try:
            for number in itertools.count():
                self.given += 1
                yield number
        finally:
            self.closed.set()

    def have_been(self, given: int) -> bool:
        return self.given >= given


def test_a_fast_iterator_waits_for_a_slow_reader_and_goes_on_with_it() -> None:
    numbers = _Numbers()
    read: list[int] = []

    async def slow_reader() -> None:
        async with iterate_in_thread(numbers.start, **_LIMITS) as items:
            for count in range(1, 50):
                read.append(await anext(items))
                in_hand = count + threads._AHEAD_MAX + 1
                await asyncio.to_thread(wait_until, partial(numbers.have_been, in_hand), "the iterator is ahead")
                assert numbers.given == in_hand

    asyncio.run(slow_reader())

    assert read == list(range(49))


def test_an_iterator_that_waits_for_its_reader_is_closed_when_the_reader_stops() -> None:
    numbers = _Numbers()

    async def reader() -> None:
        async with iterate_in_thread(numbers.start, **_LIMITS) as items:
            await anext(items)
            in_hand = 1 + threads._AHEAD_MAX + 1
            await asyncio.to_thread(wait_until, partial(numbers.have_been, in_hand), "the iterator is ahead")

    asyncio.run(reader())

    assert numbers.closed.is_set()


def test_an_item_that_takes_too_long_and_an_error_of_the_iterator_reach_the_reader() -> None:
    released = threading.Event()

    def one_and_no_more() -> Iterator[int]:
        yield 1
        released.wait(60)
        raise LookupError("canary")

    async def impatient() -> None:
        async with iterate_in_thread(one_and_no_more, item_timeout_s=0.1, close_timeout_s=0.1) as items:
            assert await anext(items) == 1
            await anext(items)

    async def patient() -> None:
        async with iterate_in_thread(one_and_no_more, **_LIMITS) as items:
            released.set()
            async for _ in items:
                pass

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    with pytest.raises(LookupError, match="canary"):
        asyncio.run(patient())


def test_a_single_call_has_its_result_its_error_or_an_end_of_its_time() -> None:
    may_end = threading.Event()

    def fail() -> None:
        raise LookupError

    async def call() -> None:
        assert await in_thread(lambda: threading.current_thread().daemon, timeout_s=10)
        with pytest.raises(LookupError):
            await in_thread(fail, timeout_s=10)
        with pytest.raises(TimeoutError):
            await in_thread(lambda: may_end.wait(60), timeout_s=0.1)

    asyncio.run(call())
    may_end.set()
