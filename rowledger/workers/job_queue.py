"""The jobs that wait for a slot, and the slots that wait for a job."""

import asyncio
import heapq
import itertools
from typing import Generic, Protocol, TypeVar

__all__ = ["JobQueue", "Taker"]

_Request = TypeVar("_Request")


class Taker(Protocol):
    """Who takes requests: a slot of a pool, or the head's end of one on a host."""

    @property
    def is_up(self) -> bool:
        """Whether it can begin at once."""


class JobQueue(Generic[_Request]):
    """Hands requests to slots: the more urgent first, in the order in which they came.

    A slot whose worker is up is preferred. Another one would start a worker, which takes longer than many a job.
    """

    def __init__(self) -> None:
        self._requests: list[tuple[int, int, _Request]] = []
        self._numbers = itertools.count()
        self._idle: dict[Taker, asyncio.Future[_Request | None]] = {}

    def put(self, request: _Request, urgency: int) -> None:
        """Add a request; those of a lower number come first."""
        heapq.heappush(self._requests, (urgency, next(self._numbers), request))
        self._hand_out()

    async def take(self, slot: Taker) -> _Request | None:
        """The next request for this slot, or None where it is dismissed.

        Where the slot is cancelled meanwhile, the request stays in the queue.
        """
        handed: asyncio.Future[_Request | None] = asyncio.get_running_loop().create_future()
        self._idle[slot] = handed
        self._hand_out()
        try:
            return await handed
        except asyncio.CancelledError:
            self._idle.pop(slot, None)
            if handed.done() and not handed.cancelled() and (request := handed.result()) is not None:
                self.put(request, 0)
            raise

    def dismiss(self, count: int) -> list[Taker]:
        """Let up to this many idle slots go, those that are not up first."""
        leaving = sorted(self._waiting(), key=lambda slot: slot.is_up)[: max(0, count)]
        for slot in leaving:
            self._idle.pop(slot).set_result(None)
        return leaving

    def drain(self) -> list[_Request]:
        """Take out all requests that no slot has."""
        waiting, self._requests = self._requests, []
        return [request for _, _, request in waiting]

    def _hand_out(self) -> None:
        while self._requests and (waiting := self._waiting()):
            slot = next((slot for slot in waiting if slot.is_up), waiting[0])
            _, _, request = heapq.heappop(self._requests)
            self._idle.pop(slot).set_result(request)

    def _waiting(self) -> list[Taker]:
        """The idle slots, but for those whose task was cancelled and has not run since: a request would be lost with them."""
        return [slot for slot, handed in self._idle.items() if not handed.done()]
