"""Loads whose chunks are committed by hosts that are processes of this machine."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline_tests.support.loading import Recorder, load_one
from pipeline_tests.support.process_hosts import ProcessHosts
from rowledger.ledger.reports import PartitionReport
from rowledger.spec.table import TableSpec

QUICK: dict[str, Any] = {"engine": "ray", "start_timeout_s": 30, "host_silent_s": 5, "respawns_max": 0}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessHosts]:
    """The engine of this test's loads, without hosts so far."""
    hosts = ProcessHosts()
    monkeypatch.setattr("rowledger.engines.engine_of", lambda _writer: hosts)
    yield hosts
    hosts.close()


@pytest.fixture
def begin(database: str, tmp_path: Path) -> Iterator[Callable[..., "Future[PartitionReport]"]]:
    """Begin a load of one partition in a thread of its own; its report is the future's result. Two may go on at once."""
    with ThreadPoolExecutor(2) as threads:

        def begin_one(spec: TableSpec, key: str, **writer: object) -> "Future[PartitionReport]":
            observer = writer.pop("observer", None) or Recorder()
            return threads.submit(load_one, database, spec, tmp_path, key, observer=observer, **{**QUICK, **writer})

        yield begin_one


@pytest.fixture
def url(database: str) -> dict[str, str]:
    """The environment of a host that reaches this test's database."""
    return {"ROWLEDGER_DATABASE_URL": database}
