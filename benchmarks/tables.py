"""TPC-H lineitem as table specs, importable by worker processes."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from benchmarks.contestants.task import KEY, KEYED_TABLE, SCHEMA, TABLE
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


_SOURCE = ParquetFiles(path="{landing}/lineitem/lineitem.parquet")
LINEITEM = TableSpec(name="lineitem", row=Lineitem, source=_SOURCE)
RACE = TableSpec(name="race", target=f"{SCHEMA}.{TABLE}", row=Lineitem, source=_SOURCE)
RACE_KEYED = TableSpec(name="race_keyed", target=f"{SCHEMA}.{KEYED_TABLE}", row=Lineitem, source=_SOURCE, key=KEY)
