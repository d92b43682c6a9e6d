"""What the process of a run imports: nothing that only those need who hold rows."""

import subprocess
import sys

import pytest

from rowledger.settings import child_environment

_FOR_ROWS = {"numpy", "pandas", "pgpq", "polars", "pyarrow"}


def _imported_by(code: str) -> set[str]:
    found = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(found.stdout.split())


def test_a_program_that_declares_a_table_of_parquet_files_imports_no_library_for_rows() -> None:
    imported = _imported_by("from pipeline.tables import flights")
    assert "rowledger.sources.parquet" in imported
    assert imported & {*_FOR_ROWS, "asyncpg"} == set()


@pytest.mark.parametrize("source", ["CsvFiles", "GivenRows", "NdjsonFiles", "ParquetFiles", "PythonRows", "SqlQuery"])
def test_a_source_is_declared_without_a_library_for_rows(source: str) -> None:
    assert _imported_by(f"from rowledger import {source}") & _FOR_ROWS == set()


def test_a_run_s_first_processes_are_started_before_it_imports_anything_large() -> None:
    imported = _imported_by("from rowledger.load.run import run_load")
    assert "rowledger.workers.spawn" in imported
    assert imported & {*_FOR_ROWS, "asyncio", "asyncpg", "psutil", "rowledger.workers.pool"} == set()


def test_a_run_begins_without_a_library_for_rows() -> None:
    imported = _imported_by(
        "import rowledger.load.run_partitions; from pipeline.tables.flights import FLIGHTS; "
        "from rowledger.contract import Contract; Contract.of(FLIGHTS.row)"
    )
    assert "rowledger.publish.reconcile" in imported
    assert imported & _FOR_ROWS == set()
