"""Keep whoever watches a run from breaking it: a log on a full disk, a pipe nobody reads, an event storage that is away."""

import logging
from collections.abc import Callable

from rowledger.ledger import Observer, PartitionReport, Progress

__all__ = ["UnbreakableObserver"]


class UnbreakableObserver:
    """Passes everything on to an observer whose failures are not the load's: what it cannot take is counted and dropped.

    The verdict stands in the ledger and the reports, so nothing but a line is lost; how many is said once that is possible.
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
        except Exception as error:  # noqa: BLE001 - whatever a log fails with, rows are not its business
            self._lost += 1
            self._cause = type(error).__name__
            return False
        return True
