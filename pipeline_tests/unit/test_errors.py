"""Errors must survive a pickle: Dagster and multiprocessing send them through one."""

import inspect
import pickle

import pytest

from pipeline import errors
from pipeline.errors import RowledgerError, UnknownPartition
from pipeline.failpoints import FailpointError

_CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, RowledgerError) and found is not UnknownPartition
]


@pytest.mark.parametrize("kind", [*_CLASSES, FailpointError], ids=lambda kind: kind.__name__)
def test_an_error_keeps_class_and_message(kind: type[RowledgerError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("table t, partition p: 3 rows")))
    assert type(copy) is kind
    assert str(copy) == "table t, partition p: 3 rows"
    assert kind.__doc__


def test_an_unknown_partition_keeps_its_fields() -> None:
    error = UnknownPartition("2024-13-01", "keys run from a to b")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.key, copy.known, str(copy)) == (error.key, error.known, str(error))
    assert "2024-13-01" in str(copy)


def test_every_error_is_offered_for_import() -> None:
    assert {kind.__name__ for kind in _CLASSES} | {"UnknownPartition"} == set(errors.__all__)
