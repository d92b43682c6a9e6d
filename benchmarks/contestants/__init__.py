"""The contestants of `make bench`: one small module a way to load, and this list of them.

Nothing is imported here but the standard library: the processes that are measured import what they use, and nothing else.
"""

from dataclasses import dataclass, field
from importlib import metadata
from types import MappingProxyType

from benchmarks.contestants.task import KEYED_TABLE, TABLE

__all__ = ["CONTESTANTS", "Contestant"]

# Each of two processes decodes in one thread: with more they would only be in each other's way on two cores.
_ONE_THREAD = MappingProxyType({"POLARS_MAX_THREADS": "1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A way to load the file. `entry` and `after` are `module:function`, called with a Task in a process of their own.

    `entry` is called in each of the processes; `after` once, when all are done. Whoever does not make the table itself finds
    an empty one. `packages` are the distributions that do the work; without one of them the contestant does not start.
    """

    name: str
    title: str
    entry: str
    packages: tuple[str, ...]
    after: str | None = None
    processes: int = 1
    table: str = TABLE
    makes_table: bool = False
    needs_copy_files: bool = False
    environment: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def missing_packages(self) -> list[str]:
        """Which of its packages are not installed."""
        return [name for name in self.packages if not list(metadata.distributions(name=name))]


_BARE_PACKAGES = ("asyncpg", "polars", "pgpq", "uvloop")

CONTESTANTS = (
    Contestant(
        name="ceiling",
        title="the ceiling: the server reads ready files",
        entry="benchmarks.contestants.ceiling:load",
        packages=("asyncpg",),
        needs_copy_files=True,
    ),
    Contestant(
        name="bare",
        title="bare: polars, pgpq, asyncpg; two processes",
        entry="benchmarks.contestants.bare:load",
        packages=_BARE_PACKAGES,
        processes=2,
        environment=_ONE_THREAD,
    ),
    Contestant(
        name="rowledger",
        title="Rowledger in full",
        entry="benchmarks.contestants.rowledger:load",
        packages=("rowledger",),
        makes_table=True,
    ),
    Contestant(
        name="rowledger-no-fingerprint",
        title="Rowledger without fingerprints",
        entry="benchmarks.contestants.rowledger:load_without_fingerprint",
        packages=("rowledger",),
        makes_table=True,
    ),
    Contestant(
        name="rowledger-keyed",
        title="Rowledger in full, with primary key",
        entry="benchmarks.contestants.rowledger:load_keyed",
        packages=("rowledger",),
        table=KEYED_TABLE,
        makes_table=True,
    ),
    Contestant(
        name="bare-keyed",
        title="bare, then primary key and count",
        entry="benchmarks.contestants.bare:load",
        after="benchmarks.contestants.bare:add_key_and_count",
        packages=_BARE_PACKAGES,
        processes=2,
        environment=_ONE_THREAD,
    ),
    Contestant(
        name="adbc",
        title="ADBC, two processes",
        entry="benchmarks.contestants.adbc:load",
        packages=("adbc-driver-postgresql", "polars", "pyarrow"),
        processes=2,
        environment=_ONE_THREAD,
    ),
    Contestant(
        name="duckdb",
        title="DuckDB's postgres extension",
        entry="benchmarks.contestants.duckdb_postgres:load",
        packages=("duckdb", "duckdb-extension-postgres-scanner"),
    ),
    Contestant(
        name="psycopg",
        title="psycopg 3, write_row; two processes",
        entry="benchmarks.contestants.psycopg_rows:load",
        packages=("psycopg", "psycopg-binary", "polars"),
        processes=2,
        environment=_ONE_THREAD,
    ),
    Contestant(
        name="dlt",
        title="dlt",
        entry="benchmarks.contestants.dlt_pipeline:load",
        packages=("dlt", "psycopg2-binary", "adbc-driver-postgresql", "pyarrow"),
    ),
    Contestant(
        name="incident",
        title="the incident's way: pydantic row by row",
        entry="benchmarks.contestants.row_by_row:load",
        packages=("asyncpg", "polars", "pydantic"),
        processes=2,
        environment=_ONE_THREAD,
    ),
)
