"""The specs that the questions load, with row models that workers import from here; all targets are in one schema."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field

from benchmarks.datasets.lineitem import LINEITEM, Lineitem
from benchmarks.scale import marks
from pipeline.tables.flights import FLIGHTS, Flight
from rowledger.contract.sql_types import Integer, varchar
from rowledger.spec.condition import Window
from rowledger.spec.partition import WHOLE, Partition
from rowledger.spec.table import DeadLetterBudget, QualifiedName, TableSpec

SCHEMA = "rowledger_bench_scale"

marks.mark("spec imported")  # the last import of a worker before it connects
marks.watch_connection()

BareMoney = Annotated[
    Decimal, Field(max_digits=15, decimal_places=2)
]  # the bounds make it numeric(15, 2), as in the other


class OwnLineitem(Lineitem):
    """The same contract in a module of its own: worker processes look for the spec beside its row model."""


class BareLineitem(BaseModel):
    """The same columns in the same types of the table, without a single rule: what is left of the contract are the casts."""

    l_orderkey: int
    l_partkey: int
    l_suppkey: int
    l_linenumber: Integer
    l_quantity: BareMoney
    l_extendedprice: BareMoney
    l_discount: BareMoney
    l_tax: BareMoney
    l_returnflag: str
    l_linestatus: str
    l_shipdate: date
    l_commitdate: date
    l_receiptdate: date
    l_shipinstruct: Annotated[str, varchar(25)]
    l_shipmode: Annotated[str, varchar(10)]
    l_comment: Annotated[str, varchar(44)]


class FewerThanFifty(Lineitem):
    """The same contract, but for the largest quantity, which one row in fifty has."""

    l_quantity: Annotated[Decimal, Field(max_digits=15, decimal_places=2, ge=0, le=49)]


class OwnFlight(Flight):
    """The same contract, for the same reason."""


SCALED = TableSpec(name="lineitem", target=f"{SCHEMA}.lineitem", row=OwnLineitem, source=LINEITEM.source)
WITHOUT_RULES = TableSpec(name="lineitem", target=f"{SCHEMA}.lineitem", row=BareLineitem, source=LINEITEM.source)
KEYED = SCALED.model_copy(update={"key": ("l_orderkey", "l_linenumber")})
REFUSING = SCALED.model_copy(
    update={"row": FewerThanFifty, "dead_letters": DeadLetterBudget(rows_max=10_000_000, share_max=1)}
)
DAYS = FLIGHTS.model_copy(
    update={"target": QualifiedName(schema_name=SCHEMA, table="flights"), "row": OwnFlight, "upstream": ()}
)

_ZONE = "America/New_York"


def partition_of(key: str) -> Partition:
    """The whole table, or a day of the flights."""
    if key == WHOLE.key:
        return WHOLE
    begin = datetime.fromisoformat(key).replace(tzinfo=ZoneInfo(_ZONE))
    window = Window("time_hour", begin.astimezone(UTC), (begin + timedelta(days=1)).astimezone(UTC), _ZONE)
    return Partition(key, (window,))
