"""`make bench`: Rowledger in full against two bare processes (Parquet → pgpq → asyncpg, no ledger, no contract, no guards).

All contestants load the same TPC-H lineitem file into the same server, interleaved, several rounds. Quote the ratios. CPU
seconds are shown apart: on a machine that is busy with something else they are the steadier figure.
"""

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import asyncpg
import polars as pl
import psutil
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.tables import LINEITEM, LINEITEM_KEYED
from pipeline.contract.check import Contract
from pipeline.model.report import PartitionReport, Progress
from pipeline.model.table import TableSpec
from pipeline.operations.load import run_load
from pipeline.postgres.copy import copy_rows, encode_rows
from pipeline.postgres.database import target_url
from pipeline.settings import WriterSettings, settings
from pipeline.source.nycflights import land_flights
from pipeline.tables.flights import FLIGHTS

BARE_PROCESSES = 2
BATCH_ROWS = 16_384
SCHEMA = "public"
TABLES = ("bare_lineitem", "lineitem", "lineitem_keyed")


class Silent:
    """An observer that lets only errors through."""

    def log(self, level: int, message: str) -> None:
        if level >= 40:  # noqa: PLR2004 - logging.ERROR
            print(message, file=sys.stderr)

    def progress(self, progress: Progress) -> None: ...

    def finished(self, report: PartitionReport) -> None: ...


@dataclass
class Contestant:
    """A way to load the file, and what each round took: wall-clock and CPU seconds, of the client and of the server."""

    name: str
    load: Callable[[], None]
    table: str
    wall_s: list[float] = field(default_factory=list)
    client_s: list[float] = field(default_factory=list)
    server_s: list[float] = field(default_factory=list)


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="TPC-H scale factor; 1 is 6.0 million rows")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    url = target_url()
    landing = settings().home.absolute() / "bench"
    file = _generate(landing / "lineitem", options.scale)
    rows = pq.read_metadata(file).num_rows
    contestants = [
        Contestant("bare, two processes", lambda: _load_bare(url, file), "bare_lineitem"),
        Contestant("Rowledger in full", lambda: _load(url, landing, LINEITEM), "lineitem"),
        Contestant(
            "… without the fingerprint",
            lambda: _load(url, landing, LINEITEM, WriterSettings(fingerprint=False)),
            "lineitem",
        ),
        Contestant("… with a primary key", lambda: _load(url, landing, LINEITEM_KEYED), "lineitem_keyed"),
    ]
    for round_no, contestant in itertools.product(range(options.rounds), contestants):
        _measure(url, contestant, rows)
        print(f"round {round_no + 1}: {contestant.name}: {contestant.wall_s[-1]:.1f} s", file=sys.stderr)
    _print(rows, contestants)
    _print_year(url, landing)


def _generate(folder: Path, scale: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    marker, file = folder / f"scale-{scale:g}", folder / "lineitem.parquet"
    if not marker.exists():
        for old in folder.glob("scale-*"):
            old.unlink()
        tool = Path(sys.executable).with_name("tpchgen-cli")
        command = [tool, "parquet", "-s", f"{scale:g}", "--tables=lineitem", f"--output-dir={folder}", "--overwrite"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own arguments
        marker.touch()
    return file


def _measure(url: str, contestant: Contestant, rows: int) -> None:
    # Nobody's table stays: autovacuum would work on it while the next contestant is measured.
    asyncio.run(_execute(url, *(f"drop table if exists {SCHEMA}.{name}" for name in TABLES), "checkpoint"))
    server = _server_cpu_s(url)
    client = _client_cpu_s()
    started = time.perf_counter()
    contestant.load()
    contestant.wall_s.append(time.perf_counter() - started)
    contestant.client_s.append(_client_cpu_s() - client)
    contestant.server_s.append(_server_cpu_s(url) - server)
    found = asyncio.run(_fetch(url, f"select count(*) from {SCHEMA}.{contestant.table}"))  # noqa: S608 - our own names
    if found != rows:
        raise SystemExit(f"{contestant.name}: {found} rows in the table, {rows} in the file")


def _load(url: str, landing: Path, spec: TableSpec, writer: WriterSettings | None = None) -> None:
    (report,) = run_load(
        spec, ["all"], url=url, landing_dir=landing, writer=writer or WriterSettings(), run_id=None, observer=Silent()
    )
    if report.error is not None:
        raise report.error


def _load_bare(url: str, file: Path) -> None:
    columns = ", ".join(f"{column.name} {column.type.sql}" for column in Contract.of(LINEITEM.row).columns)
    asyncio.run(_execute(url, f"create table {SCHEMA}.bare_lineitem ({columns})"))
    groups = range(pq.read_metadata(file).num_row_groups)
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_write_bare, args=(url, file, list(groups)[n::BARE_PROCESSES]))
        for n in range(BARE_PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a bare process failed")


def _write_bare(url: str, file: Path, groups: Sequence[int]) -> None:
    """What is left when everything is left out: read a row group, encode it, send it."""
    metadata = pq.read_metadata(file)
    offsets = [0, *itertools.accumulate(metadata.row_group(n).num_rows for n in range(metadata.num_row_groups))]
    columns = Contract.of(LINEITEM.row).columns

    async def write() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("set synchronous_commit = off")
        for group in groups:
            rows = offsets[group + 1] - offsets[group]
            frame = pl.scan_parquet(file).slice(offsets[group], rows).collect()
            encoded = encode_rows(frame, columns, BATCH_ROWS)
            await copy_rows(
                connection,
                encoded,
                schema_name=SCHEMA,
                table_name="bare_lineitem",
                columns=columns,
                on_sent=lambda _sent: None,
            )
        await connection.close()

    asyncio.run(write())


def _print(rows: int, contestants: Sequence[Contestant]) -> None:
    shown = Table(title=f"lineitem, {rows:,} rows, medians", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("contestant", "krows/s", "against bare", "client CPU s", "server CPU s", "CPU against bare"):
        shown.add_column(name, justify="left" if name == "contestant" else "right")
    bare = contestants[0]
    bare_cpu = [c + s for c, s in zip(bare.client_s, bare.server_s, strict=True)]
    for one in contestants:
        cpu = [c + s for c, s in zip(one.client_s, one.server_s, strict=True)]
        shown.add_row(
            one.name,
            f"{rows / statistics.median(one.wall_s) / 1000:,.0f}",
            f"{statistics.median(b / o for b, o in zip(bare.wall_s, one.wall_s, strict=True)):.2f}",
            f"{statistics.median(one.client_s):.1f}",
            f"{statistics.median(one.server_s):.1f}",
            f"{statistics.median(b / o for b, o in zip(bare_cpu, cpu, strict=True)):.2f}",
        )
    Console(width=120).print(shown)


def _print_year(url: str, landing: Path) -> None:
    """Fixed cost of a small partition: a year of flights against a tenth of it."""
    keys = FLIGHTS.partitions.keys()
    land_flights([date.fromisoformat(key) for key in keys], landing / "flights")
    seconds = {}
    for count in (len(keys) // 10, len(keys)):
        asyncio.run(_execute(url, f"drop table if exists {SCHEMA}.flights"))
        started = time.perf_counter()
        run_load(
            FLIGHTS,
            keys[:count],
            url=url,
            landing_dir=landing,
            writer=WriterSettings(),
            run_id=None,
            observer=Silent(),
        )
        seconds[count] = time.perf_counter() - started
    (few, few_s), (many, many_s) = seconds.items()
    print(
        f"{many} daily partitions in {many_s:.1f} s; each further one costs {(many_s - few_s) / (many - few) * 1000:.0f} ms"
    )


def _client_cpu_s() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def _server_cpu_s(url: str) -> float:
    """CPU seconds of the server and all its processes, dead ones included; it has to run on this machine."""
    pid = asyncio.run(_fetch(url, "select pg_backend_pid()", parent=True))
    postmaster = psutil.Process(pid)
    times = [postmaster.cpu_times()]
    for child in postmaster.children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a backend that ends just now counts with its parent next time
            times.append(child.cpu_times())
    return sum(t.user + t.system for t in times) + times[0].children_user + times[0].children_system


async def _fetch(url: str, sql: str, *, parent: bool = False) -> int:
    connection = await asyncpg.connect(url)
    try:
        value = int(await connection.fetchval(sql))
        return psutil.Process(value).ppid() if parent else value
    finally:
        await connection.close()


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


if __name__ == "__main__":
    main()
