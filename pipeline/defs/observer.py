"""Who watches a load on Dagster's behalf: the run's log, and a progress bar where a person watches a terminal."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from pipeline.defs.metadata import describe_error
from pipeline.model.report import Observer, PartitionReport, Progress

__all__ = ["observing"]

PROGRESS_INTERVAL_S = 0.9  # a line costs a write to Dagster's storage, so no more than about one a second


class LogObserver:
    """Writes the run's log: worker records as they come, progress at intervals, partitions that failed.

    A published partition gets no line of its own: 365 of them would cost more than loading them does.
    """

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log = log
        self._last_line_s = float("-inf")
        self._last: Progress | None = None

    def log(self, level: int, message: str) -> None:
        self._log.log(level, message)

    def progress(self, progress: Progress) -> None:
        ended = progress.partitions_done == progress.partitions
        if progress == self._last or (not ended and time.monotonic() - self._last_line_s < PROGRESS_INTERVAL_S):
            return
        self._last, self._last_line_s = progress, time.monotonic()
        self._log.info(progress_line(progress))

    def finished(self, report: PartitionReport) -> None:
        if report.error is not None:
            self._log.error(f"{report.table} {report.partition_key} not published: {describe_error(report.error)}")


class TerminalObserver(LogObserver):
    """Draws progress as a bar instead of writing lines of it."""

    def __init__(self, log: dg.DagsterLogManager, bar: ProgressBar) -> None:
        super().__init__(log)
        self._bar = bar
        self._task: TaskID | None = None

    def progress(self, progress: Progress) -> None:
        if self._task is None:
            self._task = self._bar.add_task("rows", text="")
        self._bar.update(
            self._task,
            completed=progress.written_rows + progress.dead_lettered_rows,
            total=progress.enqueued_rows,
            text=f"lag {progress.lag_rows:,}, {progress.rows_per_second:,.0f} rows/s, "
            f"partition {progress.partitions_done} of {progress.partitions}",
        )


def progress_line(progress: Progress) -> str:
    """Where the run stands, as its log says it."""
    return (
        f"{progress.written_rows:,} / {progress.enqueued_rows:,} rows, lag {progress.lag_rows:,}, "
        f"{progress.rows_per_second:,.0f} rows/s, {progress.dead_lettered_rows:,} dead letters, "
        f"partition {progress.partitions_done:,} of {progress.partitions:,}"
    )


@contextmanager
def observing(context: dg.AssetExecutionContext) -> Iterator[Observer]:
    """The observer of one step: a bar on the terminal of whoever started the run from there, otherwise the log."""
    # A run of the UI, a schedule or a backfill has a remote origin, though `dagster dev` itself may have a terminal.
    started_here = context.run.remote_job_origin is None
    with ExitStack() as stack:
        terminal = _parents_terminal() if started_here else None
        if terminal is None:
            yield LogObserver(context.log)
            return
        console = Console(file=stack.enter_context(terminal), force_terminal=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
        )
        bar = ProgressBar(*columns, TimeElapsedColumn(), console=console, refresh_per_second=2, transient=True)
        yield TerminalObserver(context.log, stack.enter_context(bar))


def _parents_terminal() -> TextIO | None:
    """Standard error of the command that spawned this step, if it is a terminal; the step's own is Dagster's capture."""
    stderr = Path(f"/proc/{os.getppid()}/fd/2")  # not on macOS, which gets lines
    try:
        if not stat.S_ISCHR(stderr.stat().st_mode):
            return None
        terminal = stderr.open("w", encoding="utf-8")
    except OSError:
        return None
    if terminal.isatty():
        return terminal
    terminal.close()
    return None
