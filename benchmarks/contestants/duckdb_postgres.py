"""DuckDB reads the file and writes it through its postgres extension, which its package brings along: nothing is downloaded."""

from pathlib import Path

import duckdb
import duckdb_extension_postgres_scanner

from benchmarks.contestants.task import SCHEMA, Task


def load(task: Task) -> None:
    """One INSERT … SELECT, which the extension turns into a binary COPY; threads and settings as they come."""
    folder = Path(duckdb_extension_postgres_scanner.__file__).parent / "extensions"
    extension = folder / f"v{duckdb.__version__}" / "postgres_scanner.duckdb_extension"
    with duckdb.connect() as connection:
        connection.load_extension(str(extension))
        connection.execute(f"attach '{_quoted(task.url)}' as target (type postgres)")
        connection.execute(
            f"insert into target.{SCHEMA}.{task.table} select * from read_parquet('{_quoted(str(task.file))}')"  # noqa: S608
        )


def _quoted(text: str) -> str:
    return text.replace("'", "''")
