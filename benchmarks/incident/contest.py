"""One contestant's turn: a database and a proxy of its own, its command, and the judge's look at what it left."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import polars as pl

from benchmarks.datasets.lineitem import LINEITEM
from benchmarks.incident.audit import Audit, SourceRange, audit
from benchmarks.incident.cuts import Cut
from benchmarks.incident.proxy import MadeCut, cutting
from rowledger.contract.check import Contract
from rowledger.settings import child_environment

WRITERS = 12
TABLE = LINEITEM.target.table
_PATIENCE_S = 180
_ROWS_PER_S_MIN = 4_000  # a contestant that is slower is taken to hang


@dataclass(frozen=True, slots=True)
class Source:
    """The file that both load, and what the judge knows of it."""

    landing: Path
    file: Path
    ranges: Sequence[SourceRange]

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.ranges)


@dataclass(frozen=True, slots=True)
class Turn:
    """How one contestant fared. `exit_code` is None if it had to be killed because it did not come to an end."""

    name: str
    exit_code: int | None
    seconds: float
    output: str
    noticed: str
    cuts: Sequence[MadeCut]
    audit: Audit

    @property
    def ending(self) -> str:
        return "had to be killed" if self.exit_code is None else f"exit code {self.exit_code}"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A design: how it is run, given the source and a folder for its own files, and how to read there what it noticed."""

    name: str
    database: str
    url_variable: str
    command: Callable[[Source, Path], list[str]]
    noticed: Callable[[str, Path], str]


def _baseline_command(source: Source, folder: Path) -> list[str]:
    return ["benchmarks.incident.baseline", str(source.file), TABLE, str(folder), "--writers", str(WRITERS)]


def _baseline_noticed(output: str, _folder: Path) -> str:
    return output.strip() or "nothing"


def _rowledger_command(source: Source, folder: Path) -> list[str]:
    return ["benchmarks.incident.rowledger", str(source.landing), str(folder / "noticed.json"), str(WRITERS)]


def _rowledger_noticed(_output: str, folder: Path) -> str:
    file = folder / "noticed.json"
    if not file.exists():
        return "no report"
    saw = json.loads(file.read_text(encoding="utf-8"))
    return (
        f"warnings: {len(saw['warnings'])}, retries: {saw['retries']}, dead workers: {saw['workers_died']}; "
        f"{saw['rows_confirmed']:,} rows confirmed by the database"
    )


BASELINE = Contestant("queues in memory", "incident_baseline", "DATABASE_URL", _baseline_command, _baseline_noticed)
ROWLEDGER = Contestant(
    "Rowledger", "incident_rowledger", "ROWLEDGER_DATABASE_URL", _rowledger_command, _rowledger_noticed
)


def take_turn(contestant: Contestant, server_url: str, source: Source, plan: Sequence[Cut]) -> Turn:
    """Load the source through a proxy that cuts as planned, then judge; the contestant's database stays."""
    url = asyncio.run(_new_database(server_url, contestant))
    with tempfile.TemporaryDirectory(prefix="rowledger-incident-") as name, cutting(url, plan) as proxy:
        folder = Path(name)
        started = time.monotonic()
        exit_code, output = _run(contestant, proxy.url, source, folder)
        seconds = time.monotonic() - started
        noticed = contestant.noticed(output, folder)
        cuts = proxy.end()
    found = asyncio.run(audit(url, TABLE, pl.read_parquet_schema(source.file), source.ranges))
    return Turn(contestant.name, exit_code, seconds, output, noticed, cuts, found)


def drop_database(server_url: str, contestant: Contestant) -> None:
    """Free what a turn has left on the server."""
    asyncio.run(_execute(server_url, f"drop database if exists {contestant.database} with (force)"))


def _run(contestant: Contestant, url: str, source: Source, folder: Path) -> tuple[int | None, str]:
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
        [sys.executable, "-m", *contestant.command(source, folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=child_environment(**{contestant.url_variable: url}),
        start_new_session=True,  # so that it can be ended with all its writers
    )
    try:
        output, _ = process.communicate(timeout=_PATIENCE_S + source.rows / _ROWS_PER_S_MIN)
    except subprocess.TimeoutExpired:
        _end(process)
        output, _ = process.communicate()
        return None, output
    except BaseException:
        _end(process)
        raise
    return process.returncode, output


def _end(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


async def _new_database(server_url: str, contestant: Contestant) -> str:
    """A fresh database with the target table in it; its URL."""
    url = urlunsplit(urlsplit(server_url)._replace(path=f"/{contestant.database}"))
    await _execute(
        server_url,
        f"drop database if exists {contestant.database} with (force)",
        f"create database {contestant.database}",
        "checkpoint",
    )
    columns = ", ".join(f"{column.name} {column.type.sql} not null" for column in Contract.of(LINEITEM.row).columns)
    await _execute(url, f"create table {TABLE} ({columns})")
    return url


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
