"""What the process of a load has imported at its end: it has planned, loaded and published rows, and held none."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from pipeline_tests.support.database import fetch_value
from rowledger.settings import child_environment

_PROGRAM = """
import sys
import rowledger
from rows_of_this_test import NUMBERS

if __name__ == "__main__":
    (report,) = rowledger.load(NUMBERS, url=sys.argv[1], landing_dir=sys.argv[2])
    print(report.written_rows, report.dead_lettered_rows, *sys.modules)
"""
_MODULE = """
import rowledger
from pydantic import BaseModel, Field

class Number(BaseModel):
    number: int = Field(ge=1)

def numbers(_):
    for number in range(100):
        yield {"number": number}

NUMBERS = rowledger.TableSpec(name="numbers", row=Number, key=("number",), source=rowledger.SOURCE)
"""
_SOURCES = {
    "ParquetFiles": '(path="{landing}/numbers.parquet")',
    "CsvFiles": '(path="{landing}/numbers.csv")',
    "NdjsonFiles": '(path="{landing}/numbers.ndjson")',
    "PythonRows": "(function=numbers)",
    "SqlQuery": '(url_variable="NUMBERS_URL", query="select number from numbers order by 1")',
}


@pytest.mark.parametrize("source", _SOURCES)
def test_a_load_holds_no_rows_in_its_own_process(database: str, tmp_path: Path, source: str) -> None:
    (tmp_path / "rows_of_this_test.py").write_text(_MODULE.replace("SOURCE", source + _SOURCES[source]))
    (tmp_path / "program.py").write_text(_PROGRAM)
    numbers = pl.DataFrame({"number": range(100)})
    numbers.write_parquet(tmp_path / "numbers.parquet")
    numbers.write_csv(tmp_path / "numbers.csv")
    numbers.write_ndjson(tmp_path / "numbers.ndjson")
    with closing(sqlite3.connect(tmp_path / "numbers.db")) as shop, shop:
        shop.execute("create table numbers (number integer)")
        shop.executemany("insert into numbers values (?)", numbers.rows())

    found = subprocess.run(
        [sys.executable, tmp_path / "program.py", database, tmp_path],
        env=child_environment(NUMBERS_URL=f"sqlite:///{tmp_path}/numbers.db"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stderr
    written, refused, *imported = found.stdout.split()
    assert (written, refused) == ("99", "1")
    assert fetch_value(database, "select count(*) from numbers") == 99
    assert set(imported) & {"numpy", "pandas", "pgpq", "polars", "pyarrow"} == set()
