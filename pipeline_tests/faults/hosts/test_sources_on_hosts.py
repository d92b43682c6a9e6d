"""Where a host gets the rows of a chunk: from a shared folder, from an object store, or with the message about it."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from pyarrow import fs

from pipeline_tests.support.assertions import assert_accounted, assert_nothing_left_over
from pipeline_tests.support.database import fetch
from pipeline_tests.support.messy_files import MESSY, Messy
from pipeline_tests.support.object_store import parquet, put
from pipeline_tests.support.process_hosts import ProcessHosts
from pipeline_tests.support.tables import readings
from pipeline_tests.support.tables_of_other_sources import GENERATED, STORED, give
from rowledger.errors import SourceError
from rowledger.ledger.reports import PartitionReport
from rowledger.spec.partition import Partition

Begin = Callable[..., "Future[PartitionReport]"]
_DONE_S = 120
_GENERATED_ROWS = readings(1_000)


@pytest.fixture
def north(engine: ProcessHosts, database: str, tmp_path: Path) -> Iterator[ProcessHosts]:
    """One host, with a folder of its own for what it is sent."""
    engine.add("north", {"ROWLEDGER_DATABASE_URL": database, "ROWLEDGER_HOME": str(tmp_path / "north")})
    yield engine
    left = list((tmp_path / "north" / "spool").glob("*"))
    assert not left, "the host keeps what it was sent"


def generated(_partition: Partition) -> Iterator[dict[str, object]]:
    yield from _GENERATED_ROWS


def test_rows_of_a_function_are_sent_to_the_host(
    database: str, north: ProcessHosts, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, generated)
    report = begin(GENERATED, "all").result(_DONE_S)
    assert report.error is None
    assert report.chunks == 10
    assert north["north"].sent_bytes > 10_000
    assert_accounted(database, GENERATED, _GENERATED_ROWS)


def test_rows_that_arrive_damaged_fail_their_partition(
    database: str, north: ProcessHosts, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, generated)
    north["north"].damage = True
    report = begin(GENERATED, "all").result(_DONE_S)
    assert isinstance(report.error, SourceError)
    assert "on host north: partition all, chunk" in str(report.error)
    assert "arrived damaged" in str(report.error)
    north["north"].damage = False
    assert begin(GENERATED, "all", busy_wait_s=10).result(_DONE_S).error is None
    assert_accounted(database, GENERATED, _GENERATED_ROWS)


@pytest.mark.parametrize("messy", MESSY, ids=lambda messy: messy.spec.name)
def test_each_row_of_a_messy_file_is_where_it_belongs(
    database: str, tmp_path: Path, north: ProcessHosts, begin: Begin, messy: Messy
) -> None:
    assert north.hosts
    messy.write(tmp_path)
    report = begin(messy.spec, "all").result(_DONE_S)
    assert report.error is None
    names = ", ".join(f'"{name}"' for name in messy.spec.row.model_fields)
    in_table = [tuple(row) for row in fetch(database, f'select {names} from "{messy.spec.target.table}"')]
    assert sorted(in_table, key=repr) == sorted(messy.rows, key=repr)
    letters = fetch(
        database, "select source_row, stage, source, worker_host from rowledger.dead_letter order by 1, row_no"
    )
    assert [(letter["source_row"], letter["stage"]) for letter in letters] == [dead[:2] for dead in messy.dead]
    assert {letter["source"] for letter in letters} <= {str(tmp_path / messy.name)}
    assert_nothing_left_over(database)


def test_an_object_is_fetched_by_the_host_itself(
    database: str, north: ProcessHosts, begin: Begin, store: fs.S3FileSystem
) -> None:
    put(store, "stored/all.parquet", parquet())
    report = begin(STORED, "all").result(_DONE_S)
    assert report.error is None
    assert report.written_rows == 2
    assert north["north"].sent_bytes == 0
    assert_nothing_left_over(database)


def test_an_object_that_the_host_cannot_fetch_is_sent_to_it(
    database: str, north: ProcessHosts, begin: Begin, store: fs.S3FileSystem
) -> None:
    north["north"].environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    put(store, "stored/all.parquet", parquet())
    report = begin(STORED, "all", chunk_rows_max=1, workers=2).result(_DONE_S)
    assert report.error is None
    assert report.chunks == 2
    assert north["north"].sent_bytes == len(parquet()), "the file was not sent once"
    assert_nothing_left_over(database)
