"""What a person sees of a load on standard error while it runs: a bar on a terminal, a line now and then otherwise."""

import contextlib
import logging
from collections.abc import Iterator

import click
from rich.console import Console
from rich.text import Text

from rowledger.ledger import Observer, PartitionReport, Progress
from rowledger.load import ProgressBar, ProgressLines, drawing_progress

__all__ = ["observing_load"]

_INTERVAL_S = 10.0  # between two lines where there is no terminal


class _LineObserver:
    def __init__(self) -> None:
        self._lines = ProgressLines(self._say, interval_s=_INTERVAL_S)

    def log(self, level: int, message: str) -> None:
        if level >= logging.WARNING:
            self._say(message)

    def progress(self, progress: Progress) -> None:
        self._lines.progress(progress)

    def finished(self, report: PartitionReport) -> None:
        if report.error is not None:  # the reason comes at the end
            self._say(f"partition {report.partition_key} is not published ({type(report.error).__name__})")

    def _say(self, line: str) -> None:
        click.echo(line, err=True)


class _TerminalObserver(_LineObserver):
    """Draws a bar, above which it prints the lines."""

    def __init__(self, console: Console, bar: ProgressBar) -> None:
        super().__init__()
        self._console = console
        self._bar = bar

    def progress(self, progress: Progress) -> None:
        self._bar.progress(progress)

    def _say(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


@contextlib.contextmanager
def observing_load() -> Iterator[Observer]:
    """The observer of a load in this process, while the block runs."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _LineObserver()
        return
    with drawing_progress(console) as bar:
        yield _TerminalObserver(console, bar)
