"""Tables of odd shapes: as wide as PostgreSQL takes them, and with values longer than all their neighbours together."""

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, create_model, field_validator

from rowledger.contract.sql_types import Integer, SmallInt
from rowledger.sources.parquet import ParquetFiles
from rowledger.sources.python import PythonRows
from rowledger.spec.partition import Partition
from rowledger.spec.table import DeadLetterBudget, TableSpec, WriteMode

_TOLERANT = DeadLetterBudget(rows_max=200, share_max=0.5)

WIDE_COLUMNS = 1_600
WIDE_NAMES = tuple(f"c{number}" for number in range(1, WIDE_COLUMNS))

_OPTIONAL: dict[str, Any] = dict.fromkeys(WIDE_NAMES, (SmallInt | None, None))
Wide = create_model("Wide", key=(Integer, ...), **_OPTIONAL)

WIDE = {
    mode: TableSpec(
        name=f"wide_{mode}",
        row=Wide,
        source=ParquetFiles(path="{landing}/wide.parquet"),
        key=("key",),
        write_mode=mode,
        dead_letters=_TOLERANT,
    )
    for mode in WriteMode
}
WIDE_REPLACE, WIDE_APPEND, WIDE_UPSERT = WIDE.values()


class Long(BaseModel):
    """A row with a value of any length in each column that may have one."""

    number: Integer
    text: str
    octets: bytes
    texts: list[str]
    amount: Decimal
    document: dict[str, Any]


LONG_TEXT = "é" * 5_000_000


def long_rows(_: Partition) -> Iterator[dict[str, Any]]:
    """A thousand short rows, and one of 10 million bytes or 100,000 digits in each of its columns."""
    short = {"text": "a", "octets": b"a", "texts": ["a"], "amount": Decimal("1.5"), "document": {"a": 1}}
    for number in range(1_000):
        yield {"number": number, **short}
    yield {
        "number": 1_000,
        "text": LONG_TEXT,
        "octets": LONG_TEXT.encode(),
        "texts": ["a", LONG_TEXT],
        "amount": Decimal("9" * 100_000 + ".5"),
        "document": {"a": LONG_TEXT},
    }


LONG = TableSpec(name="long", row=Long, source=PythonRows(function=long_rows), dead_letters=_TOLERANT)


class Slow(BaseModel):
    """A row that takes its time to validate."""

    number: Integer

    @field_validator("number")
    @classmethod
    def _takes_its_time(cls, value: int) -> int:
        time.sleep(0.02)
        return value


SLOW = TableSpec(name="slow", row=Slow, source=ParquetFiles(path="{landing}/slow.parquet"), dead_letters=_TOLERANT)
