"""Moments of a run and its workers, written down by the processes themselves where `ROWLEDGER_BENCH_MARKS` names a file.

The clock is CLOCK_MONOTONIC, which all processes of a machine share. Nothing is touched where the variable is not set.
"""

import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

VARIABLE = "ROWLEDGER_BENCH_MARKS"


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of a process: by the machine's clock, and by the CPU time that the process had taken until then."""

    pid: int
    at_ns: int
    cpu_ns: int
    moment: str


def mark(moment: str) -> None:
    """Append a line: pid, clock, CPU time, moment."""
    if file := os.environ.get(VARIABLE):
        line = f"{os.getpid()} {time.monotonic_ns()} {time.process_time_ns()} {moment}\n".encode()
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line)  # one write, so that lines of several processes do not mix
        os.close(descriptor)


def read_marks(file: Path) -> list[Mark]:
    """All marks, in the order in which they were made."""
    lines = (line.split(" ", 3) for line in file.read_text(encoding="utf-8").splitlines())
    return [Mark(int(pid), int(at_ns), int(cpu_ns), moment) for pid, at_ns, cpu_ns, moment in lines]


def watch_connection() -> None:
    """Have this process mark when it is connected, asks for COPY, and sends COPY's first byte."""
    if VARIABLE not in os.environ or asyncpg.connect.__module__ == __name__:
        return
    connect, copy = asyncpg.connect, asyncpg.Connection.copy_to_table

    async def marked_connect(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - stands in for asyncpg's
        connection = await connect(*args, **kwargs)
        mark("connected")
        return connection

    async def marked_copy(self: asyncpg.Connection, table: str, *, source: AsyncIterator[bytes], **kwargs: Any) -> Any:  # noqa: ANN401
        async def watched() -> AsyncIterator[bytes]:
            mark("first byte of COPY")
            async for piece in source:
                yield piece

        mark("COPY asked for")
        return await copy(self, table, source=watched(), **kwargs)

    asyncpg.connect = marked_connect
    asyncpg.Connection.copy_to_table = marked_copy
