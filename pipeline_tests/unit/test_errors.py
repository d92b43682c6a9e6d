"""Errors must survive a pickle: Dagster and multiprocessing send them through one."""

import inspect
import pickle
import re

import pytest

from rowledger import errors
from rowledger.errors import ChunkFailed, ProducerTerminated, RowledgerError, UnknownPartition, WorkerTerminated
from rowledger.failpoints import FailpointError

_CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, RowledgerError) and found is not UnknownPartition
]

_DEATH = {
    "pid": 77,
    "host": "node-3",
    "exit_code": -9,
    "cause": "signal",
    "summary": "ended by SIGKILL",
    "partition_key": "p",
    "chunk_no": 3,
    "worker_traceback": "Traceback …",
}


@pytest.mark.parametrize("kind", [*_CLASSES, FailpointError], ids=lambda kind: kind.__name__)
def test_an_error_keeps_class_and_message(kind: type[RowledgerError]) -> None:
    details = _DEATH if issubclass(kind, WorkerTerminated) else {}
    if issubclass(kind, ProducerTerminated):
        details = {name: _DEATH[name] for name in ("pid", "exit_code", "cause")}
    copy = pickle.loads(pickle.dumps(kind("table t, partition p: 3 rows", **details)))
    assert type(copy) is kind
    assert str(copy) == "table t, partition p: 3 rows"
    assert vars(copy).items() >= details.items()
    assert kind.__doc__


@pytest.mark.parametrize("kind", [*_CLASSES, UnknownPartition], ids=lambda kind: kind.__name__)
def test_the_first_paragraph_says_what_is_true_of_one_partition_among_others_and_nothing_for_programmers(
    kind: type[RowledgerError],
) -> None:
    told, _, _ = (inspect.getdoc(kind) or "").partition("\n\n")

    # It ends the log of a run in which other partitions may have been published.
    assert not re.search(r"nothing was (published|written|done)|none of it was", told, re.IGNORECASE)
    assert not {*re.findall(r"`(\w+)`", told)} & {*inspect.signature(kind.__init__).parameters}


def test_a_terminated_worker_is_a_failed_chunk_and_names_the_signal() -> None:
    copy = pickle.loads(pickle.dumps(WorkerTerminated("chunk 3", **_DEATH)))
    assert isinstance(copy, ChunkFailed)
    assert (copy.signal, copy.chunk_no, copy.worker_traceback, copy.host) == (9, 3, "Traceback …", "node-3")
    assert WorkerTerminated("chunk 3", **{**_DEATH, "exit_code": 1}).signal is None


def test_an_unknown_partition_keeps_its_fields() -> None:
    error = UnknownPartition("2024-13-01", "keys run from a to b")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.key, copy.known, str(copy)) == (error.key, error.known, str(error))
    assert "2024-13-01" in str(copy)


def test_every_error_is_offered_for_import() -> None:
    assert {kind.__name__ for kind in _CLASSES} | {"UnknownPartition"} == set(errors.__all__)
