"""The contestants of `make bench`: one small module a way to load, and this list of them.

Nothing is imported here but the standard library: the processes that are measured import what they use, and nothing else.
"""

from dataclasses import dataclass, field
from importlib import metadata
from types import MappingProxyType

from benchmarks.contestants.psql import find_psql
from benchmarks.contestants.task import FORMATS

__all__ = ["CONTESTANTS", "Contestant"]

# Each of two processes decodes in one thread: with more they would only be in each other's way on two cores.
_ONE_THREAD = MappingProxyType({"POLARS_MAX_THREADS": "1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A way to load rows of some formats. `entry` and `after` are `module:function`, called with a Task in their own process.

    `entry` is called in each of the processes; `after` once, when all are done. An empty table is there, unless the contestant
    makes it. `packages` are the distributions that do the work. A slow contestant loads only a `rows_share` of the rows.
    Several records may share a name, where the ways differ by format.
    """

    name: str
    title: str
    entry: str
    formats: tuple[str, ...]
    packages: tuple[str, ...]
    after: str | None = None
    processes: int = 1
    rows_share: float = 1
    is_keyed: bool = False
    makes_table: bool = False
    needs_copy_files: bool = False
    needs_psql: bool = False
    environment: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def missing(self) -> str | None:
        """Why it cannot start here; None if it can."""
        absent = [name for name in self.packages if not list(metadata.distributions(name=name))]
        if absent:
            return f"not installed: {', '.join(absent)}; pip install '.[bench]' brings it"
        if self.needs_psql and find_psql() is None:
            return "there is no psql; pip install '.[bench]' brings it"
        return None


_BARE_PACKAGES = ("asyncpg", "polars", "pgpq", "uvloop")
_ADBC_PACKAGES = ("adbc-driver-postgresql", "polars", "pyarrow")
_DLT_PACKAGES = ("dlt", "psycopg2-binary", "adbc-driver-postgresql", "pyarrow")

CONTESTANTS = (
    Contestant(
        name="ceiling",
        title="the ceiling: the server reads ready files",
        entry="benchmarks.contestants.ceiling:load",
        formats=("parquet",),
        packages=("asyncpg",),
        needs_copy_files=True,
    ),
    Contestant(
        name="bare",
        title="bare: polars, pgpq, asyncpg; two processes",
        entry="benchmarks.contestants.bare:load",
        formats=("parquet",),
        packages=_BARE_PACKAGES,
        processes=2,
        environment=_ONE_THREAD,
    ),
    Contestant(
        name="rowledger",
        title="Rowledger in full",
        entry="benchmarks.contestants.rowledger:load",
        formats=tuple(FORMATS),
        packages=("rowledger",),
        makes_table=True,
    ),
    Contestant(
        name="rowledger-no-fingerprint",
        title="Rowledger without fingerprints",
        entry="benchmarks.contestants.rowledger:load_without_fingerprint",
        formats=("parquet", "csv"),
        packages=("rowledger",),
        makes_table=True,
    ),
    Contestant(
        name="rowledger-keyed",
        title="Rowledger in full, with primary key",
        entry="benchmarks.contestants.rowledger:load_keyed",
        formats=("parquet",),
        packages=("rowledger",),
        is_keyed=True,
        makes_table=True,
    ),
    Contestant(
        name="bare-keyed",
        title="bare, then primary key and count",
        entry="benchmarks.contestants.bare:load",
        after="benchmarks.contestants.bare:add_key_and_count",
        formats=("parquet",),
        packages=_BARE_PACKAGES,
        processes=2,
        environment=_ONE_THREAD,
    ),
    Contestant(
        name="duckdb",
        title="DuckDB's postgres extension",
        entry="benchmarks.contestants.duckdb_postgres:load",
        formats=("parquet", "csv", "gzip", "ndjson", "frames", "query"),
        packages=("duckdb", "duckdb-extension-postgres-scanner"),
    ),
    *(
        Contestant(
            name="psql",
            title=title,
            entry="benchmarks.contestants.psql:load",
            formats=(one,),
            packages=(),
            needs_psql=True,
        )
        for one, title in {
            "csv": r"psql, \copy",
            "gzip": "gzip -dc | psql, copy from stdin",
            "query": "psql, copy to stdout | psql, copy from stdin",
        }.items()
    ),
    Contestant(
        name="adbc",
        title="ADBC, two processes",
        entry="benchmarks.contestants.adbc:load",
        formats=("parquet",),
        packages=_ADBC_PACKAGES,
        processes=2,
        environment=_ONE_THREAD,
    ),
    Contestant(
        name="adbc",
        title="ADBC",
        entry="benchmarks.contestants.adbc:load",
        formats=("csv", "gzip", "frames", "query"),
        packages=_ADBC_PACKAGES,
    ),
    Contestant(
        name="psycopg",
        title="psycopg 3, write_row; two processes",
        entry="benchmarks.contestants.psycopg_rows:load",
        formats=("parquet",),
        packages=("psycopg", "psycopg-binary", "polars"),
        processes=2,
        environment=_ONE_THREAD,
    ),
    Contestant(
        name="dlt",
        title="dlt",
        entry="benchmarks.contestants.dlt_pipeline:load",
        formats=("parquet", "csv", "frames"),
        packages=_DLT_PACKAGES,
    ),
    Contestant(
        name="dlt",
        title="dlt",
        entry="benchmarks.contestants.dlt_pipeline:load",
        formats=("ndjson", "dicts"),
        packages=_DLT_PACKAGES,
        rows_share=0.1,
    ),
    Contestant(
        name="pandas",
        title='pandas, to_sql(method="multi")',
        entry="benchmarks.contestants.pandas_to_sql:load",
        formats=("csv", "dicts"),
        packages=("pandas", "sqlalchemy", "psycopg2-binary"),
        rows_share=0.02,
    ),
    Contestant(
        name="incident",
        title="the incident's way: pydantic row by row",
        entry="benchmarks.contestants.row_by_row:load",
        formats=("parquet",),
        packages=("asyncpg", "polars", "pydantic"),
        processes=2,
        environment=_ONE_THREAD,
    ),
)
