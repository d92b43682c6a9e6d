"""The pool as a run uses it: who has its partitions planned, its sources read and its chunks committed, wherever that is."""

from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Protocol, Self

from rowledger.chunk import Job, PlanJob
from rowledger.ledger import ChunkOutcome, Planned
from rowledger.workers.production import Produced, Production

__all__ = ["LoadPool"]


class LoadPool(Protocol):
    """`Pool` is the one of this machine, `HostPool` that of other hosts. An async context manager, which ends all workers."""

    @property
    def peak_rss_bytes(self) -> int:
        """The most resident memory that any worker has had."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    async def plan(self, job: PlanJob) -> Planned:
        """Have a partition planned."""

    async def commit(self, job: Job) -> ChunkOutcome:
        """Have a job done."""

    def resize(self, workers: int) -> None:
        """Have this many connections of workers, on all hosts together, from now on.

        A worker that is to end does so after its chunk.
        """

    def produce(self, work: Production, *, may_repeat: bool) -> AsyncGenerator[Produced, None]:
        """Have a partition's source read by a producer."""
