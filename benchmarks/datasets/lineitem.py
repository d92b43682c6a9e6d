"""TPC-H lineitem: its row model, importable by worker processes, and its file, made by tpchgen-cli."""

import subprocess
import sys
import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from rowledger.contract.sql_types import Integer, varchar
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.table import TableSpec

Money = Annotated[Decimal, Field(max_digits=15, decimal_places=2, ge=0)]


class Lineitem(BaseModel):
    """One line of an order, with the bounds of the TPC-H specification."""

    l_orderkey: Annotated[int, Field(ge=1)]
    l_partkey: Annotated[int, Field(ge=1)]
    l_suppkey: Annotated[int, Field(ge=1)]
    l_linenumber: Annotated[Integer, Field(ge=1, le=7)]
    l_quantity: Money
    l_extendedprice: Money
    l_discount: Money
    l_tax: Money
    l_returnflag: Literal["A", "N", "R"]
    l_linestatus: Literal["O", "F"]
    l_shipdate: date
    l_commitdate: date
    l_receiptdate: date
    l_shipinstruct: Annotated[str, varchar(25)]
    l_shipmode: Annotated[str, varchar(10)]
    l_comment: Annotated[str, varchar(44)]


LINEITEM = TableSpec(
    name="lineitem", row=Lineitem, source=ParquetFiles(path="{landing}/lineitem/lineitem.parquet")
)  # for the other benchmarks


def write(file: Path, scale: float) -> None:
    """Write the file at this TPC-H scale factor; 1 is 6,001,215 rows. Raises SystemExit without tpchgen-cli."""
    tool = Path(sys.executable).with_name("tpchgen-cli")
    if not tool.exists():
        raise SystemExit("error: tpchgen-cli is missing; install it with the extra: pip install '.[bench]'")
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        options = ["-s", f"{scale:g}", "--tables=lineitem", f"--output-dir={folder}", "--quiet"]
        subprocess.run([tool, "parquet", *options], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own arguments
        (Path(folder) / "lineitem.parquet").replace(file)
