"""Dagster's observers of a load: the run's log, and a progress bar on a terminal."""

import logging
import os
import queue
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Protocol, TextIO

import dagster as dg
from rich.console import Console

from rowledger.dagster.failures import describe_error
from rowledger.ledger import Observer, PartitionReport, Progress
from rowledger.load import ProgressBar, ProgressLines, drawing_progress

__all__ = ["observing"]

FLUSH_TIMEOUT_S = 15.0
PROGRESS_INTERVAL_S = 0.9  # a line costs a write to Dagster's storage, so at most about one a second


class LogObserver:
    """Writes the run's log: worker records as they come, progress at intervals, partitions that failed.

    A published partition gets no line, because 365 of them would cost more than loading them. Each line is a write to
    Dagster's storage, which takes milliseconds, or forever when its server cannot be reached. So a separate thread
    writes the lines, and the supervisor that calls this observer goes on watching its workers.
    """

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log = log
        self._progress = ProgressLines(lambda line: self.log(logging.INFO, line), interval_s=PROGRESS_INTERVAL_S)
        self._lines: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="run log", daemon=True)
        self._writer.start()

    def close(self) -> None:
        """Wait, for a bounded time, until the remaining lines are written."""
        self._lines.put(None)
        self._writer.join(FLUSH_TIMEOUT_S)
        if self._writer.is_alive():
            sys.stderr.write(
                f"the run's log did not take all lines within {FLUSH_TIMEOUT_S} s; some are missing there\n"
            )

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                line()
            except Exception as error:  # noqa: BLE001 - a failing log must fail neither the load nor the next line
                sys.stderr.write(f"a line of the run's log was lost: {type(error).__name__}\n")

    def log(self, level: int, message: str) -> None:
        self._lines.put(lambda: self._log.log(level, message))

    def progress(self, progress: Progress) -> None:
        self._progress.progress(progress)

    def finished(self, report: PartitionReport) -> None:
        if report.error is not None:
            self.log(
                logging.ERROR,
                f"{report.table} {report.partition_key} not published: "
                f"{describe_error(report.error, table=report.table, partition_key=report.partition_key)}",
            )


class TerminalObserver(LogObserver):
    """Draws progress as a bar instead of writing lines."""

    def __init__(self, log: dg.DagsterLogManager, bar: ProgressBar) -> None:
        super().__init__(log)
        self._bar = bar

    def progress(self, progress: Progress) -> None:
        self._bar.progress(progress)


class Step(Protocol):
    """A step's context, as far as it matters here."""

    @property
    def run(self) -> dg.DagsterRun: ...

    @property
    def log(self) -> dg.DagsterLogManager: ...


@contextmanager
def observing(context: Step) -> Iterator[Observer]:
    """The observer of one step: a bar on the terminal from which the run was started, otherwise the log."""
    # A run of the UI, a schedule or a backfill has a remote origin, though `dagster dev` itself may have a terminal.
    started_here = context.run.remote_job_origin is None
    with ExitStack() as stack:
        terminal = _parents_terminal() if started_here else None
        if terminal is None:
            with closing(LogObserver(context.log)) as observer:
                yield observer
            return
        console = Console(file=stack.enter_context(terminal), force_terminal=True)
        bar = stack.enter_context(drawing_progress(console))
        yield stack.enter_context(closing(TerminalObserver(context.log, bar)))


def _parents_terminal() -> TextIO | None:
    """Standard error of the command that spawned this step, if it is a terminal; Dagster captures the step's own."""
    stderr = Path(f"/proc/{os.getppid()}/fd/2")  # macOS does not have it, and gets lines
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
