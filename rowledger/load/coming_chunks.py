"""The chunks of a source that is loaded while it still produces: from a producer process, or from rows given in this one."""

import contextlib
from collections.abc import AsyncIterator, Iterator

from rowledger.chunk import ComingColumns
from rowledger.errors import SourceError
from rowledger.failpoints import Place, failpoint
from rowledger.load.run_context import RunContext
from rowledger.machine import iterate_in_thread
from rowledger.spec import LoadHandle, Partition, SourceContext
from rowledger.workers import Produced, Production

__all__ = ["chunks_as_they_come"]


def chunks_as_they_come(
    run: RunContext, partition: Partition, handle: LoadHandle, scope: SourceContext
) -> contextlib.AbstractAsyncContextManager[AsyncIterator[Produced]]:
    """Yield an iterator of the partition's chunks, each of which workers can read when it comes.

    The source is closed when the block ends. Reading the iterator raises SourceError, and whatever else the source raises.
    """
    source = run.request.spec.source
    if source.takes_rows:
        return _from_thread(run, partition, scope)
    work = Production(handle, partition, scope)
    return contextlib.aclosing(run.pool.produce(work, may_repeat=source.may_repeat))


@contextlib.asynccontextmanager
async def _from_thread(
    run: RunContext, partition: Partition, scope: SourceContext
) -> AsyncIterator[AsyncIterator[Produced]]:
    """Rows that come with the load are objects of this process, so a thread of it reads them."""
    spec, limits, name = run.request.spec, run.request.writer, run.name_of(partition)

    def produce() -> Iterator[Produced]:
        columns = ComingColumns(spec)
        for number, descriptor in enumerate(spec.source.chunks(partition, scope)):
            failpoint(Place.IN_SPOOLING, partition=partition.key, chunk=number)
            yield Produced(descriptor=descriptor, brought=columns.brought_by(descriptor))

    async def until_silent(chunks: AsyncIterator[Produced]) -> AsyncIterator[Produced]:
        try:
            async for chunk in chunks:
                yield chunk
        except TimeoutError:
            raise SourceError(
                f"{name}: the source gave no chunk for {limits.planning_timeout_s:g} s (planning_timeout_s); see what it "
                "waits for, then rerun"
            ) from None

    coming = iterate_in_thread(
        produce, item_timeout_s=limits.planning_timeout_s, close_timeout_s=limits.close_timeout_s
    )
    async with coming as chunks:
        yield until_silent(chunks)
