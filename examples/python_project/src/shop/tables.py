"""The tables of the shop. Worker processes import this module, so it does not import Dagster."""

import datetime as dt
from decimal import Decimal
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field

from rowledger import CsvFiles, DeadLetterBudget, TableSpec


class Sale(BaseModel):
    """One sale at the till."""

    sale_id: int = Field(alias="Sale ID", description="Number on the receipt.")
    sold_at: AwareDatetime = Field(alias="sold at")
    shop: str
    amount: Annotated[Decimal, Field(gt=0, max_digits=10, decimal_places=2)]


class Takings(BaseModel):
    """What a shop takes on a day."""

    day: dt.date
    shop: str
    amount: Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2)]


SALES = TableSpec(
    name="sales",
    row=Sale,
    source=CsvFiles(path="data/sales/{partition_key}.csv"),
    partition_by="sold_at",
    key=("sale_id", "sold_at"),
    dead_letters=DeadLetterBudget(rows_max=10, share_max=0.25),
)
