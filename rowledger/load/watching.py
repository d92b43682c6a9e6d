"""Keep an observer from breaking a run: a log on a full disk, a pipe that is not read, an event storage that is down."""

import logging
from collections.abc import Callable

from rowledger.ledger import Observer, PartitionReport, Progress

__all__ = ["UnbreakableObserver"]


class UnbreakableObserver:
    """Passes everything on to an observer, and counts and drops what it fails on: such a failure must not end the load.

    The ledger and the reports have the verdict, so only log lines are lost. Their number is logged once the observer
    accepts it.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._lost = 0
        self._cause = ""

    def log(self, level: int, message: str) -> None:
        if self._lost and self._told(
            lambda: self._observer.log(logging.WARNING, f"{self._lost} messages to this log were lost ({self._cause})")
        ):
            self._lost = 0
        self._told(lambda: self._observer.log(level, message))

    def progress(self, progress: Progress) -> None:
        self._told(lambda: self._observer.progress(progress))

    def finished(self, report: PartitionReport) -> None:
        self._told(lambda: self._observer.finished(report))

    def _told(self, tell: Callable[[], None]) -> bool:
        try:
            tell()
        except Exception as error:  # noqa: BLE001 - a failing log must not affect rows
            self._lost += 1
            self._cause = type(error).__name__
            return False
        return True
