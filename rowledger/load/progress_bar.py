"""The progress of a run as a bar on a terminal."""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TaskID, TextColumn, TimeElapsedColumn

from rowledger.ledger import Progress
from rowledger.load.progress_lines import lag_of

__all__ = ["ProgressBar", "drawing_progress"]

_PLANNING = "reading the source"


class ProgressBar:
    """Draws how many rows have arrived. The bar has no end, and names none, until the source has given its first rows."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def progress(self, progress: Progress) -> None:
        """Draw the progress."""
        counts = progress.counts
        if self._task is None:
            self._task = self._bar.add_task("rows", total=None, rows="", text=_PLANNING)
        if not counts.enqueued_rows:
            return
        total = counts.enqueued_rows + counts.added_rows
        arrived = total - counts.missing_rows
        self._bar.update(
            self._task,
            completed=arrived,
            total=total,
            rows=f"{arrived:,}/{total:,}",
            text=lag_of(progress),
        )


@contextlib.contextmanager
def drawing_progress(console: Console) -> Iterator[ProgressBar]:
    """A bar on the console, which is gone after the block."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]}"),
        TextColumn("{task.fields[text]}"),
    )
    with Bar(*columns, TimeElapsedColumn(), console=console, refresh_per_second=2, transient=True) as bar:
        yield ProgressBar(bar)
