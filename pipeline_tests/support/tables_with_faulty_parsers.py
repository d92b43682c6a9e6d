"""A table whose parser of CSV dies, hangs or eats memory in the middle of a chunk; workers import it."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal
from unittest import mock

import polars as pl
from pyarrow import csv
from pydantic import BaseModel

from rowledger.sources.csv import CsvFiles
from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.table import TableSpec

ROWS = [{"number": number, "note": f"n{number}"} for number in range(250)]
POISON = "n117"
"""The text in whose chunk the parser fails."""


class Numbered(BaseModel):
    """A row of the table."""

    number: int
    note: str


def _eat_memory() -> None:
    eaten = []
    while True:
        eaten.append(b"x" * 2**22)
        time.sleep(0.02)


def _hang() -> None:
    while True:
        time.sleep(3600)


_FAULTS: dict[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "end": lambda: os._exit(0),
    "hang": _hang,
    "eat memory": _eat_memory,
}


class FaultyCsv(CsvFiles):
    """CSV whose parser fails in the chunk of POISON: once, or `always`. Columns get types in every chunk."""

    typed_rows_min: ClassVar[int] = 0
    fault: Literal["kill", "segfault", "end", "hang", "eat memory"]
    always: bool = False

    def read(self, descriptor: ChunkDescriptor) -> pl.DataFrame:
        with self._faulty(Path(descriptor.path)):
            return super().read(descriptor)

    def read_typed(self, descriptor: ChunkDescriptor, types: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
        with self._faulty(Path(descriptor.path)):
            return super().read_typed(descriptor, types)

    @contextlib.contextmanager
    def _faulty(self, file: Path) -> Iterator[None]:
        parse, failed = csv.read_csv, file.with_suffix(".failed")

        def read_csv(*arguments: Any, **options: Any) -> Any:
            parsed = parse(*arguments, **options)
            if POISON in parsed.column(1).to_pylist() and (self.always or not failed.exists()):
                failed.touch()
                _FAULTS[self.fault]()
            return parsed

        with mock.patch.object(csv, "read_csv", read_csv):
            yield


def numbered(fault: str, *, always: bool = False) -> TableSpec:
    """The table with a parser at fault."""
    source = FaultyCsv.model_validate({"path": "{landing}/numbered.csv", "fault": fault, "always": always})
    return TableSpec(name="numbered", row=Numbered, source=source)


def write_numbered(landing: Path) -> None:
    """Write the file of the table."""
    lines = "".join(f"{row['number']},{row['note']}\n" for row in ROWS)
    (landing / "numbered.csv").write_text("number,note\n" + lines, encoding="utf-8")
