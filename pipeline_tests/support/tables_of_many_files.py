"""Tables of partitions that consist of many small files."""

from typing import Annotated

from pydantic import BaseModel, Field

from pipeline_tests.support.tables import TOLERANT
from rowledger.sources.csv import CsvFiles
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.table import TableSpec

__all__ = ["MANY_CSV", "MANY_PARQUET", "Item"]


class Item(BaseModel):
    """A row that tells where it is from."""

    number: Annotated[int, Field(ge=0)]
    label: str


MANY_PARQUET = TableSpec(
    name="many_parquet",
    row=Item,
    source=ParquetFiles(path="{landing}/*.parquet"),
    key=("number",),
    dead_letters=TOLERANT,
)
MANY_CSV = TableSpec(
    name="many_csv", row=Item, source=CsvFiles(path="{landing}/*.csv"), key=("number",), dead_letters=TOLERANT
)
