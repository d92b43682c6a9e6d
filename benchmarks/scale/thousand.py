"""A table as a script declares it, for loads of a thousand rows that are measured from the process's start to its end."""

from pydantic import AwareDatetime, BaseModel

from rowledger import CsvFiles, ParquetFiles, TableSpec

__all__ = ["FROM_CSV", "FROM_PARQUET"]

_TARGET = "rowledger_bench_scale.sales"


class Sale(BaseModel):
    """A small row."""

    sale_id: int
    sold_at: AwareDatetime
    amount: float
    shop: str | None


FROM_PARQUET = TableSpec(name="sales", target=_TARGET, row=Sale, source=ParquetFiles(path="{landing}/sales.parquet"))
FROM_CSV = TableSpec(name="sales", target=_TARGET, row=Sale, source=CsvFiles(path="{landing}/sales.csv"))
