"""Rowledger itself: contract, ledger, guards, reconcile and publish, with its default settings."""

import logging
import os
import sys
from collections.abc import Iterator

import rowledger  # by its names, of which each load uses few
from benchmarks.contestants.task import SCHEMA, Task

_TASK = "ROWLEDGER_BENCH_TASK"


class _ErrorsOnly:
    """An observer for whom a run that goes well says nothing."""

    def log(self, level: int, message: str) -> None:
        if level >= logging.ERROR:
            print(message, file=sys.stderr)

    def progress(self, progress: object) -> None: ...

    def finished(self, report: "rowledger.PartitionReport") -> None: ...


def load(task: Task) -> None:
    """In full, no key."""
    _load(task, rowledger.WriterSettings())


def load_without_fingerprint(task: Task) -> None:
    """The same, with counts alone compared before publishing."""
    _load(task, rowledger.WriterSettings(fingerprint=False))


def load_keyed(task: Task) -> None:
    """In full, with the primary key of the contract."""
    _load(task, rowledger.WriterSettings(), key=task.key)


def dicts(_: "rowledger.Partition") -> Iterator[object]:
    """The function that users would write."""
    from benchmarks.contestants.frames import read_dicts  # noqa: PLC0415 - workers import this module too

    return read_dicts(Task.from_json(os.environ[_TASK]))


def frames(_: "rowledger.Partition") -> Iterator[object]:
    """The same for frames."""
    from benchmarks.contestants.frames import read_frames  # noqa: PLC0415 - workers import this module too

    return read_frames(Task.from_json(os.environ[_TASK]))


def _load(task: Task, writer: rowledger.WriterSettings, key: tuple[str, ...] = ()) -> None:
    os.environ[_TASK] = task.as_json()  # for the functions, wherever they are called
    spec = rowledger.TableSpec(
        name=task.table, target=f"{SCHEMA}.{task.table}", row=task.row, source=_source(task), key=key
    )
    rowledger.load(spec, url=task.url, landing_dir=task.folder, writer=writer, observer=_ErrorsOnly())


def _source(task: Task) -> "rowledger.Source":
    path = f"{{landing}}/{task.file.name}"
    match task.format:
        case "csv" | "gzip":
            return rowledger.CsvFiles(path=path)
        case "ndjson":
            return rowledger.NdjsonFiles(path=path)
        case "dicts":
            return rowledger.PythonRows(function=dicts)
        case "frames":
            return rowledger.PythonRows(function=frames)
        case "query":
            return rowledger.SqlQuery(url_variable="DATABASE_URL", query=task.query)
        case _:
            return rowledger.ParquetFiles(path=path)
