"""The progress of a run as lines of a log."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rowledger.counted import counted

if TYPE_CHECKING:
    from rowledger.ledger import Progress, RowCounts

__all__ = ["ProgressLines", "lag_of", "progress_line"]


class ProgressLines:
    """Writes a line when the progress has changed, at most one in `interval_s` seconds, and the last one in any case."""

    def __init__(self, write: Callable[[str], None], *, interval_s: float) -> None:
        self._write = write
        self._interval_s = interval_s
        self._last: tuple[RowCounts, int] | None = None
        self._last_line_s = float("-inf")

    def progress(self, progress: "Progress") -> None:
        """Take note of the progress. Nothing is written before the first rows are known."""
        known = (progress.counts, progress.partitions_done)
        if known == self._last or (not progress.counts.enqueued_rows and not _has_ended(progress)):
            return
        if not _has_ended(progress) and time.monotonic() - self._last_line_s < self._interval_s:
            return
        self._last, self._last_line_s = known, time.monotonic()
        self._write(progress_line(progress))


def progress_line(progress: "Progress") -> str:
    """The progress of the run in one line."""
    counts = progress.counts
    return (
        f"{counts.written_rows:,} of {counts.enqueued_rows:,} rows written, {counts.dead_lettered_rows:,} dead-lettered, "
        f"{lag_of(progress)}"
    )


def lag_of(progress: "Progress") -> str:
    """What is missing, the speed, and the partitions that are done."""
    return (
        f"lag {progress.counts.missing_rows:,}, {progress.rows_per_second:,.0f} rows/s, "
        f"{progress.partitions_done:,} of {counted(progress.partitions, 'partition')} done"
    )


def _has_ended(progress: "Progress") -> bool:
    return progress.partitions_done == progress.partitions
