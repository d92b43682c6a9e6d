"""One row model for tables with any partitions of Dagster's, and a source that makes the rows of any partition."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel

from rowledger.contract.sql_types import Integer
from rowledger.sources.python import PythonRows
from rowledger.spec.condition import Equals, Window
from rowledger.spec.partition import Partition
from rowledger.spec.table import DeadLetterBudget, TableSpec, WriteMode

ROWS = 3
"""The rows that a load of one partition writes; of a partition of a window of time one more is refused."""


class Sample(BaseModel):
    """A row that can be divided by time, by place and by a number."""

    at: AwareDatetime
    place: str
    number: Integer
    loaded: str


def samples(partition: Partition) -> Iterator[dict[str, Any]]:
    """Rows of the partition, the first at its lower bound; and one at its upper bound, which is the next one's."""
    row: dict[str, Any] = {"place": "anywhere", "number": 0, "loaded": partition.key, "at": "2024-01-01T00:00:00Z"}
    for condition in partition.conditions:
        match condition:
            case Equals(column, text):
                row[column] = int(text) if column == "number" else text
            case Window(column, lower, upper):
                yield {**row, column: upper}
                row[column] = lower
    for second in range(ROWS):
        yield {**row, "at": row["at"] + timedelta(seconds=second)} if partition.window else row


def sampled(
    name: str, partition_by: str | dict[str, str] | None, write_mode: WriteMode = WriteMode.REPLACE
) -> TableSpec:
    """A table that is divided by these columns."""
    return TableSpec(
        name=name,
        row=Sample,
        source=PythonRows(function=samples),
        partition_by=partition_by,
        write_mode=write_mode,
        dead_letters=DeadLetterBudget(rows_max=10, share_max=0.5),
    )
