"""What the process of a load has imported at its end: it has planned, loaded and published rows, and held none."""

import subprocess
import sys
from pathlib import Path

import polars as pl

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

NUMBERS = rowledger.TableSpec(
    name="numbers", row=Number, key=("number",), source=rowledger.ParquetFiles(path="{landing}/numbers.parquet")
)
"""


def test_a_load_of_parquet_files_holds_no_rows_in_its_own_process(database: str, tmp_path: Path) -> None:
    (tmp_path / "rows_of_this_test.py").write_text(_MODULE)
    (tmp_path / "program.py").write_text(_PROGRAM)
    pl.DataFrame({"number": range(100)}).write_parquet(tmp_path / "numbers.parquet")

    found = subprocess.run(
        [sys.executable, tmp_path / "program.py", database, tmp_path],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stderr
    written, refused, *imported = found.stdout.split()
    assert (written, refused) == ("99", "1")
    assert fetch_value(database, "select count(*) from numbers") == 99
    assert set(imported) & {"numpy", "pandas", "pgpq", "polars", "pyarrow"} == set()
