"""A table of JSON lines whose parser has faults in the middle of a chunk, as an environment variable asks for."""

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
from pydantic import BaseModel

from rowledger import NdjsonFiles, TableSpec
from rowledger.contract.sql_types import BigInt
from rowledger.sources.json_columns import JsonColumn

FAULT = "FAULT_OF_THE_PARSER"
"""Variable: what the parser does; nothing if it is not set."""
ONCE = "FILE_FOR_ONE_FAULT"
"""Variable: a file that the first faulty parser removes. Where it is missing no parser is faulty."""
POISON = 333
"""The number whose line is at fault if `ONCE` is not set."""
_BITE_BYTES = 8 * 2**20


class Counted(BaseModel):
    """A number, and a text."""

    number: BigInt
    text: str


class FaultyLines(NdjsonFiles):
    """The lines of files, of which a chunk is read by a parser with a fault."""

    def _frame(self, text: bytes, *arguments: Any) -> pl.DataFrame:
        if FAULT not in os.environ or not _is_meant(text):
            return super()._frame(text, *arguments)
        with patch.object(JsonColumn, "read", _read):
            return super()._frame(text, *arguments)


def _is_meant(text: bytes) -> bool:
    if ONCE not in os.environ:
        return f'"number":{POISON},'.encode() in text
    try:
        Path(os.environ[ONCE]).unlink()
    except FileNotFoundError:
        return False
    return True


def _read(_column: JsonColumn) -> None:
    match os.environ[FAULT]:
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


COUNTED = TableSpec(name="counted", row=Counted, source=FaultyLines(path="{landing}/counted.ndjson"))


def write_lines(landing: Path, rows: int) -> None:
    """Write the file of `COUNTED`, with the numbers from 0 on."""
    lines = (f'{{"number":{number},"text":"row {number}"}}\n' for number in range(rows))
    (landing / "counted.ndjson").write_text("".join(lines))
