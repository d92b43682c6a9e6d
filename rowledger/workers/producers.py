"""The producers of a run: each reads the source of one partition at a time, and is used again for the next one.

When a producer dies, the death is an incident. Where the source can be read twice in the same way, another producer reads it
from its beginning, and the chunks that were given already must be the same; otherwise the partition fails.
"""

import contextlib
import logging
from collections.abc import AsyncGenerator

from rowledger.counted import counted
from rowledger.errors import ProducerTerminated, SourceError
from rowledger.ledger import IncidentKind
from rowledger.machine import Host
from rowledger.spec import ChunkDescriptor
from rowledger.workers.child_process import ChildDied
from rowledger.workers.guards import over_soft_limit
from rowledger.workers.producer import ProducerHandle
from rowledger.workers.production import Produced, ProducerHello, Production
from rowledger.workers.workforce import Workforce

__all__ = ["Producers"]

_MAY_BE_CHANCE = {
    IncidentKind.CRASH,
    IncidentKind.SIGNAL,
    IncidentKind.OUT_OF_MEMORY,
    IncidentKind.EXIT_WITHOUT_REPORT,
    IncidentKind.START_FAILED,
}


class Producers:
    """Starts producers when they are needed, and keeps those that are idle."""

    def __init__(self, workforce: Workforce, hello: ProducerHello) -> None:
        self._workforce = workforce
        self._hello = hello
        self._idle: list[ProducerHandle] = []

    async def start_one(self) -> None:
        """Start a producer before there is work for it; raises PoolBroken."""
        self._idle.append(await self._workforce.start_producer(self._hello))

    async def chunks(self, work: Production, *, may_repeat: bool) -> AsyncGenerator[Produced, None]:
        """The chunks of a partition's source, in order. Close the iterator where it is not read to its end.

        Raises what the source raises (SourceError, NotEnoughSpace, SpecError, MissingExtra), ProducerTerminated when the
        producer dies and the source must not be read again (`may_repeat`) or several have died, and PoolBroken.
        """
        given: list[ChunkDescriptor] = []
        while True:
            try:
                async with contextlib.aclosing(self._attempt(work)) as chunks:
                    number = 0
                    async for chunk in chunks:
                        if number < len(given):
                            _require_same(given[number], chunk.descriptor)
                        else:
                            given.append(chunk.descriptor)
                            yield chunk
                        number += 1
                if number < len(given):
                    raise SourceError(
                        f"the source gave {counted(number, 'chunk')} when it was read again, {len(given)} before; rerun when "
                        "nothing writes to it"
                    )
            except ChildDied as death:
                attempts_max = self._workforce.limits.chunk_attempts_max
                if not may_repeat or death.kind not in _MAY_BE_CHANCE or work.attempt >= attempts_max:
                    raise _terminated(death, self._workforce.host) from None
                work = work.again()
            else:
                return

    async def _attempt(self, work: Production) -> AsyncGenerator[Produced, None]:
        """One attempt with one producer, whose death is recorded."""
        workforce = self._workforce
        if workforce.broken is not None:
            raise workforce.broken
        producer = await self._free()
        try:
            async with producer.producing(work) as chunks:
                async for chunk in chunks:
                    yield chunk
        except ChildDied as death:
            await workforce.record_death(producer, death, work)
            raise
        finally:
            if producer in workforce.children:
                await self._keep(producer)

    async def _free(self) -> ProducerHandle:
        while self._idle:
            producer = self._idle.pop()
            if producer.is_running:
                return producer
            await self._workforce.record_death(producer, producer.death(), None)
        return await self._workforce.start_producer(self._hello)

    async def _keep(self, producer: ProducerHandle) -> None:
        if not producer.is_running:  # it did not close its source in time
            await self._workforce.discard(producer)
            return
        if not producer.is_over_soft_limit:
            self._idle.append(producer)
            return
        told = over_soft_limit(producer.rss_bytes, self._workforce.limits)
        self._workforce.log(
            logging.INFO, f"producer {self._workforce.host.told(producer.pid)} is not used again: it {told}"
        )
        await self._workforce.retire(producer)


def _require_same(before: ChunkDescriptor, again: ChunkDescriptor) -> None:
    """Raise SourceError where a source that is read again gives another chunk than before."""
    if (before.file_digest, before.rows) != (again.file_digest, again.rows):
        raise SourceError(
            f"the source gave other rows when it was read again after its producer had died, from row "
            f"{before.origin_row} of {before.origin} on; rerun when nothing writes to it"
        )


def _terminated(death: ChildDied, host: Host) -> ProducerTerminated:
    remedy = {
        IncidentKind.MEMORY_LIMIT: "have it yield less at a time, or raise rss_hard_limit_bytes",
        IncidentKind.STALL: "see what it waits for",
    }.get(death.kind, "look at its last output (`rowledger incidents`)")
    return ProducerTerminated(
        f"the process that reads the source (pid {host.told(death.pid)}) {death.summary}; {remedy}, then rerun",
        pid=death.pid,
        host=host.name,
        exit_code=death.exit_code,
        cause=death.kind,
    )
