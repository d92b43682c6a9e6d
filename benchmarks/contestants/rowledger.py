"""Rowledger itself: contract, ledger, guards, reconcile and publish, with its default settings."""

import logging
import sys

from benchmarks.contestants.task import Task
from benchmarks.tables import RACE, RACE_KEYED
from rowledger.ledger.reports import PartitionReport, Progress
from rowledger.load.run import run_load
from rowledger.settings import WriterSettings
from rowledger.spec.partition import WHOLE
from rowledger.spec.table import TableSpec


class _ErrorsOnly:
    """An observer for whom a run that goes well says nothing."""

    def log(self, level: int, message: str) -> None:
        if level >= logging.ERROR:
            print(message, file=sys.stderr)

    def progress(self, progress: Progress) -> None: ...

    def finished(self, report: PartitionReport) -> None: ...


def load(task: Task) -> None:
    """In full, no key."""
    _load(task, RACE, WriterSettings())


def load_without_fingerprint(task: Task) -> None:
    """The same, with counts alone compared before publishing."""
    _load(task, RACE, WriterSettings(fingerprint=False))


def load_keyed(task: Task) -> None:
    """In full, with the primary key of the contract."""
    _load(task, RACE_KEYED, WriterSettings())


def _load(task: Task, spec: TableSpec, writer: WriterSettings) -> None:
    (report,) = run_load(
        spec, [WHOLE], url=task.url, landing_dir=task.landing, writer=writer, run_id=None, observer=_ErrorsOnly()
    )
    if report.error is not None:
        raise report.error
