"""What refused rows cost: a million clean rows, a million with 1 % bad ones of mixed kinds, 100,000 that the server refuses.

`python -m benchmarks.refusals` loads each of them a few times, interleaved, into a schema of its own, and prints ratios to the
clean load.
"""

import argparse
import asyncio
import statistics
import time
from typing import Annotated

import asyncpg
import numpy as np
import polars as pl
from pydantic import BaseModel, Field
from rich import box
from rich.console import Console
from rich.table import Table

from rowledger.contract.sql_types import Integer, varchar
from rowledger.ledger.reports import PartitionReport, Progress
from rowledger.load.run import run_load
from rowledger.postgres.server_url import target_url
from rowledger.settings import WriterSettings, settings
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.partition import WHOLE
from rowledger.spec.table import DeadLetterBudget, TableSpec

SCHEMA = "bench_refusals"
BAD_SHARE = 0.01
REFUSED_BY_SERVER = 100_000


class Measurement(BaseModel):
    """A row of ten columns; the table has a CHECK of its own, which the contract does not know."""

    id: int
    sensor: Annotated[Integer, Field(ge=0, lt=5_000)]
    site: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    label: Annotated[str, varchar(24)]
    a: float
    b: Annotated[float, Field(ge=-1e6, le=1e6)]
    c: Annotated[Integer, Field(ge=0)] | None
    d: str
    e: Annotated[str, Field(min_length=1)]
    f: bool


def _spec(name: str, budget: DeadLetterBudget) -> TableSpec:
    return TableSpec(
        name=name,
        target=f"{SCHEMA}.{name}",
        row=Measurement,
        source=ParquetFiles(path=f"{{landing}}/{name}.parquet"),
        dead_letters=budget,
    )


_ALL = DeadLetterBudget(rows_max=10_000_000, share_max=1)
CLEAN = _spec("clean", _ALL)
MIXED = _spec("mixed", _ALL)
REFUSED = _spec("refused", _ALL)
REFUSED_WITHIN_BUDGET = _spec("refused_within_budget", DeadLetterBudget(rows_max=1_000, share_max=1))


class _Silent:
    def log(self, level: int, message: str) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def finished(self, report: PartitionReport) -> None: ...


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    landing = settings().home.absolute() / "bench" / "refusals"
    landing.mkdir(parents=True, exist_ok=True)
    rows = _rows(options.rows)
    rows.write_parquet(landing / "clean.parquet")
    _spoil(rows, BAD_SHARE).write_parquet(landing / "mixed.parquet")
    refused = rows.head(REFUSED_BY_SERVER).with_columns(d=pl.lit("refuse me"))
    refused.write_parquet(landing / "refused.parquet")
    refused.write_parquet(landing / "refused_within_budget.parquet")
    seconds: dict[str, list[float]] = {}
    letters: dict[str, int] = {}
    url = target_url()
    for _ in range(options.rounds):
        for spec in (CLEAN, MIXED, REFUSED, REFUSED_WITHIN_BUDGET):
            asyncio.run(_prepare(url, spec))
            started = time.perf_counter()
            (report,) = run_load(
                spec,
                [WHOLE],
                url=url,
                landing_dir=landing,
                writer=WriterSettings(chunk_deadline_s=3_600),
                run_id=None,
                observer=_Silent(),
            )
            seconds.setdefault(spec.name, []).append(time.perf_counter() - started)
            letters[spec.name] = report.dead_lettered_rows
            if spec is not REFUSED_WITHIN_BUDGET and report.error is not None:
                raise report.error
    asyncio.run(_execute(url, f"drop schema {SCHEMA} cascade"))
    clean_s = statistics.median(seconds[CLEAN.name])
    shown = Table("load", "dead letters", "seconds", "/ clean", box=box.SIMPLE_HEAD)
    for name, took in seconds.items():
        median_s = statistics.median(took)
        shown.add_row(name, f"{letters[name]:,}", f"{median_s:.2f}", f"{median_s / clean_s:.2f}")
    Console().print(shown)


def _rows(count: int) -> pl.DataFrame:
    generator = np.random.default_rng(198)
    words = pl.Series(["copper", "delta", "gamma ray", "north", "oblique", "quartz", "vermilion"])
    return pl.DataFrame(
        {
            "id": np.arange(count),
            "sensor": generator.integers(0, 5_000, count),
            "site": pl.Series(["EWR", "JFK", "LGA", "TXL"])[generator.integers(0, 4, count)],
            "label": words[generator.integers(0, 7, count)],
            "a": generator.normal(size=count),
            "b": generator.uniform(-1e6, 1e6, count),
            "c": pl.Series(generator.integers(0, 1_000, count)).cast(pl.Int64),
            "d": words[generator.integers(0, 7, count)],
            "e": words[generator.integers(0, 7, count)],
            "f": generator.integers(0, 2, count) == 1,
        }
    )


def _spoil(rows: pl.DataFrame, share: float) -> pl.DataFrame:
    """Every hundredth row or so is bad, in one of eight ways, one of which only the server notices."""
    generator = np.random.default_rng(199)
    kind = np.where(generator.random(rows.height) < share, generator.integers(1, 9, rows.height), 0)
    is_kind = [pl.lit(pl.Series(kind == number)) for number in range(9)]
    return rows.with_columns(
        sensor=pl.when(is_kind[1]).then(-1).otherwise("sensor"),
        site=pl.when(is_kind[2]).then(pl.lit("nowhere")).otherwise("site"),
        label=pl.when(is_kind[3]).then(pl.lit("x" * 25)).otherwise("label"),
        a=pl.when(is_kind[4]).then(None).otherwise("a"),
        b=pl.when(is_kind[5]).then(2e6).otherwise("b"),
        c=pl.when(is_kind[6]).then(-5).otherwise("c"),
        d=pl.when(is_kind[7]).then(pl.lit("refuse me")).otherwise("d"),
        e=pl.when(is_kind[8]).then(pl.lit("")).otherwise("e"),
    )


async def _prepare(url: str, spec: TableSpec) -> None:
    columns = (
        "id bigint not null, sensor integer not null, site text not null, label varchar(24) not null, "
        "a double precision not null, b double precision not null, c integer, d text not null check (d <> 'refuse me'), "
        "e text not null, f boolean not null"
    )
    await _execute(
        url,
        f"create schema if not exists {SCHEMA}",
        f"drop table if exists {spec.target}",
        f"create table {spec.target} ({columns})",
        "checkpoint",
    )


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url, timeout=30)
    try:
        for statement in statements:
            await connection.execute(statement, timeout=600)
    finally:
        await connection.close()


if __name__ == "__main__":
    main()
