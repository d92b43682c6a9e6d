"""A table whose partitions are on several servers, by the variables that the tests set, and rows for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import polars as pl
import pytest
from pydantic import BaseModel, Field

from pipeline_tests.support.tables import TOLERANT, Row
from rowledger.contract.sql_types import Integer
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.partition import Partition
from rowledger.spec.servers import ServersByFunction, ServersByKey
from rowledger.spec.table import QualifiedName, TableSpec

EU, US = "EU_DATABASE_URL", "US_DATABASE_URL"


class Sale(BaseModel):
    """A row of a region."""

    region: str
    sale_id: Annotated[Integer, Field(ge=0)]
    item: str


SALES = TableSpec(
    name="sales",
    row=Sale,
    source=ParquetFiles(path="{landing}/sales/{partition_key}.parquet"),
    partition_by="region",
    key=("region", "sale_id"),
    dead_letters=TOLERANT,
    servers=ServersByKey(variables={"eu": EU, "uk": EU, "us": US}),
)


def server_of_sale(partition: Partition) -> str:
    """The variable of a region's server; it fails for the region `nowhere`, and has no server for `mars`."""
    return {"eu": EU, "uk": EU, "us": US, "mars": "MARS_DATABASE_URL"}[partition.key]


SALES_BY_FUNCTION = SALES.model_copy(
    update={
        "name": "sales_by_function",
        "target": QualifiedName(schema_name="public", table="sales_by_function"),
        "servers": ServersByFunction(function=server_of_sale, variables=(EU, US)),
    }
)


def moved(**variables: str) -> TableSpec:
    """The table with its regions on other servers."""
    return SALES.model_copy(update={"servers": ServersByKey(variables=variables)})


def sales(region: str, count: int, *, first: int = 0) -> list[Row]:
    """Rows of a region."""
    return [{"region": region, "sale_id": number, "item": f"item {number}"} for number in range(first, first + count)]


def write_sales(landing: Path, region: str, rows: Sequence[Row]) -> list[Row]:
    """The region's file; returns its rows."""
    folder = landing / "sales"
    folder.mkdir(parents=True, exist_ok=True)
    schema = {"region": pl.String(), "sale_id": pl.Int64(), "item": pl.String()}
    pl.DataFrame(rows, schema=schema).write_parquet(folder / f"{region}.parquet")
    return list(rows)


def set_servers(monkeypatch: pytest.MonkeyPatch, *, eu: str, us: str) -> None:
    """Set the variables of the servers."""
    monkeypatch.setenv(EU, eu)
    monkeypatch.setenv(US, us)
