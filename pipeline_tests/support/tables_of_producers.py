"""Tables whose functions misbehave in the process that reads the source, as the environment tells them to."""

import ctypes
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from pydantic import BaseModel

from rowledger.contract.sql_types import BigInt, Integer
from rowledger.sources.csv import CsvFiles
from rowledger.sources.python import PythonRows
from rowledger.sources.spooled_source import SpooledSource
from rowledger.sources.sql import SqlQuery
from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.partition import Partition
from rowledger.spec.source import SourceContext
from rowledger.spec.table import DeadLetterBudget, TableSpec
from rowledger.spec.transform import FrameTransform
from rowledger.workers.messages import LINE_BYTES_MAX

FAULT = "FAULT_OF_THE_FUNCTION"
"""Variable: which fault `faulty_rows` has behind its first 250 rows; none if it is not set."""
CLOSED = "FILE_FOR_THE_CLOSED_FUNCTION"
"""Variable: the file that `faulty_rows` makes when it is closed."""
_BITE_BYTES = 8 * 2**20


class Numbered(BaseModel):
    """A number, and the process that has made it."""

    number: Integer
    pid: BigInt


def faulty_rows(_: Partition) -> Iterator[object]:
    try:
        yield _numbers(0, 250)
        _fork(os.environ.get(FAULT))
        _log(os.environ.get(FAULT))
        match os.environ.get(FAULT):
            case "exits":
                os._exit(0)
            case "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "crashes":
                ctypes.string_at(0)
            case "hangs":
                time.sleep(3_600)
            case "freezes":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "eats memory":
                eaten = []
                while True:
                    eaten.append(b"x" * _BITE_BYTES)
                    time.sleep(0.01)
            case "leaves by SystemExit":
                raise SystemExit(3)
        print("the last rows come")  # noqa: T201 - a test looks for it
        yield _numbers(250, 500)
    finally:
        if CLOSED in os.environ:
            Path(os.environ[CLOSED]).touch()


def _fork(fault: str | None) -> None:
    match fault:
        case "forks, and both go on":
            os.fork()
        case "forks, and the child leaves":
            if os.fork() == 0:
                raise SystemExit(0)
        case "forks, and the child logs":
            if (child := os.fork()) == 0:
                logging.getLogger("faulty").warning("the child is at work")
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def _log(fault: str | None) -> None:
    log = logging.getLogger("faulty")
    match fault:
        case "logs what has no text":
            log.warning("%d rows", "many")
        case "logs what is no text":
            log.warning("a name in another encoding: \udce4")
        case "logs at INFO":
            log.info("asked https://api.example/rows?token=secret")
        case "logs at INFO, which it has asked for":
            log.setLevel(logging.INFO)
            log.info("page 3 of 5")
        case "logs more than a message holds":
            log.warning("x" * (LINE_BYTES_MAX + 1))


def _numbers(first: int, stop: int) -> pl.DataFrame:
    return pl.DataFrame({"number": range(first, stop), "pid": [os.getpid()] * (stop - first)})


NUMBERED = TableSpec(name="numbered", row=Numbered, source=PythonRows(function=faulty_rows))

NUMBERED_BY_KEY = TableSpec(
    name="numbered_by_key",
    row=Numbered,
    source=NUMBERED.source,
    partition_by="number",
    dead_letters=DeadLetterBudget(share_max=1),
)
"""The same by partitions: each is given all the rows."""


def fork_and_go_on(frame: pl.DataFrame) -> pl.DataFrame:
    os.fork()
    return frame


FORKED_IN_WORKERS = TableSpec(
    name="forked_in_workers", row=Numbered, source=NUMBERED.source, transform=FrameTransform(function=fork_and_go_on)
)

NUMBERED_CSV = TableSpec(name="numbered_csv", row=Numbered, source=CsvFiles(path="{landing}/numbered.csv"))

CONVERTED_CSV = TableSpec(
    name="converted_csv", row=Numbered, source=CsvFiles(path="{landing}/converted.csv", encoding="utf-16")
)


class Answered(BaseModel):
    """A number, and a text that the query makes in the way its database tells it to."""

    number: Integer
    note: str


ANSWERED = TableSpec(
    name="answered",
    row=Answered,
    source=SqlQuery(
        url_variable="SHOP_URL",
        query="""
            select n as number, case when n <> 250000 then repeat('.', 20) else
                case (select fault from faults)
                    when 'is terminated' then pg_terminate_backend(pg_backend_pid())::text || pg_sleep(600)
                    when 'hangs' then pg_sleep(600)::text
                    when 'gives too much' then repeat('x', 700000000)
                    when 'fails' then repeat('a row''s secret', (n - 250000) / (n - 250000))
                    else repeat('.', 20)
                end
            end as note
            from generate_series(1, 300000) n
        """,
    ),
)
"""A query that is at fault near its end, as long as the table `faults` has a row with the fault."""


class FickleRows(SpooledSource):
    """Claims to give the same rows when it is read again, and gives those from `first_again` to before `stop_again`."""

    may_repeat = True
    path: str
    first_again: int
    stop_again: int

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        was_read = Path(self.path.format(landing=scope.landing_dir))
        first, stop = (self.first_again, self.stop_again) if was_read.exists() else (0, 250)
        was_read.touch()
        yield from self.new_spool(scope).write([_numbers(first, stop).with_columns(pid=0)], origin=partition.key)


FICKLE = TableSpec(
    name="fickle", row=Numbered, source=FickleRows(path="{landing}/was_read", first_again=1_000, stop_again=1_250)
)
SHRINKING = TableSpec(
    name="shrinking", row=Numbered, source=FickleRows(path="{landing}/was_read", first_again=0, stop_again=100)
)
