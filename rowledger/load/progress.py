"""The progress of a run: what is known of each partition while it loads, and a report about once a second."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

from rowledger.ledger import AlreadyCommitted, ChunkTotals, Committed, Incident, Observer, Progress, RowCounts

__all__ = ["PartitionProgress", "ProgressReporter"]

_INTERVAL_S = 1.0


@dataclass(slots=True)
class PartitionProgress:
    """The progress of one partition while it loads, from workers' reports: for figures, not for verdicts.

    `enqueued_rows` counts the rows of all its chunks; `committed` has the counts of committed chunks.
    """

    enqueued_rows: int = 0
    committed: RowCounts = field(default_factory=RowCounts)
    discarded_values: int = 0
    chunks: int = 0
    retries: int = 0
    done: bool = False
    incidents: list[Incident] = field(default_factory=list)

    @property
    def counts(self) -> RowCounts:
        """What became of the partition's rows so far."""
        return replace(self.committed, enqueued_rows=self.enqueued_rows)

    def add(self, outcome: Committed | AlreadyCommitted) -> None:
        """Count a committed chunk."""
        self.committed += outcome.counts
        self.discarded_values += outcome.discarded_values

    def reset(self) -> None:
        """Count no chunk as committed."""
        self.committed, self.discarded_values = RowCounts(), 0

    def set(self, totals: ChunkTotals) -> None:
        """Take the counts from the ledger."""
        self.committed, self.discarded_values = totals.counts, totals.discarded_values


class ProgressReporter:
    """Reports the progress of all partitions of one run to its observer."""

    def __init__(self, observer: Observer, partitions: Mapping[str, PartitionProgress]) -> None:
        self._observer = observer
        self._open = list(partitions.values())  # those that are not done
        self._partitions = len(self._open)
        self._of_done = RowCounts()
        self._started = time.monotonic()

    @contextlib.asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Report about once a second while the block runs, and once more after it."""
        reporting = asyncio.create_task(self._report_regularly())
        try:
            yield
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
            self._report()

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_S)
            self._report()

    def _report(self) -> None:
        still_open, of_open = [], RowCounts()
        for partition in self._open:
            if partition.done:
                self._of_done += partition.counts
            else:
                still_open.append(partition)
                if partition.chunks:  # most of tens of thousands have not begun
                    of_open += partition.counts
        self._open, counts = still_open, self._of_done + of_open
        elapsed_s = time.monotonic() - self._started
        self._observer.progress(
            Progress(
                counts,
                rows_per_second=counts.written_rows / elapsed_s if elapsed_s > 0 else 0.0,
                partitions_done=self._partitions - len(still_open),
                partitions=self._partitions,
            )
        )
