"""DuckDB reads the rows and writes them through its postgres extension, which its package brings: nothing is downloaded."""

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
        connection.execute(f"attach {_quoted(task.url)} as target (type postgres)")
        if task.format == "frames":
            from benchmarks.contestants.frames import read_batches  # noqa: PLC0415 - nothing else needs polars here

            connection.register("frames", read_batches(task))
        connection.execute(f"insert into target.{SCHEMA}.{task.table} {_select(task)}")


def _select(task: Task) -> str:
    file = _quoted(str(task.file))
    types = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in task.columns.items())
    match task.format:
        case "csv" | "gzip":
            return f"select * from read_csv({file}, header = true, columns = {{{types}}})"  # noqa: S608
        case "ndjson":
            return f"select * from read_json({file}, format = 'newline_delimited', columns = {{{types}}})"  # noqa: S608
        case "frames":
            return "select * from frames"
        case "query":
            return f"select * from postgres_query('target', {_quoted(task.query)})"  # noqa: S608
        case _:
            return f"select * from read_parquet({file})"  # noqa: S608


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
