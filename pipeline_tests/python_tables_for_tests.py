"""A table whose rows a Python function gives. It runs in the test's own process, so a test says here what it shall give."""

from collections.abc import Callable, Iterator

from pydantic import BaseModel

from pipeline.contract.types import Integer
from pipeline.model.partition import Partition
from pipeline.model.table import DeadLetterBudget, TableSpec
from pipeline.source.python import PythonRows


class GeneratedReading(BaseModel):
    """A row without a key."""

    sensor: Integer
    value: float | None


given: list[Callable[[Partition], Iterator[object]]] = []


def readings_as_given(partition: Partition) -> Iterator[object]:
    """Whatever the test has put into `given`."""
    yield from given[-1](partition)


GENERATED = TableSpec(
    name="generated",
    row=GeneratedReading,
    source=PythonRows(function=readings_as_given),
    dead_letters=DeadLetterBudget(rows_max=200, share_max=0.5),
)
