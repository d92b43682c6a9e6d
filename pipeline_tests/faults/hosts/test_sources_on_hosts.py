"""Where a host gets the rows of a chunk: from a shared folder, from an object store, or with the message about it."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from pyarrow import fs

from pipeline_tests.faults.hosts.conftest import QUICK
from pipeline_tests.support.assertions import assert_accounted, assert_nothing_left_over
from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load
from pipeline_tests.support.messy_files import MESSY, Messy
from pipeline_tests.support.object_store import parquet, put
from pipeline_tests.support.process_hosts import ProcessHosts
from pipeline_tests.support.tables import readings
from pipeline_tests.support.tables_of_other_sources import GENERATED, GENERATED_BY_DAY, STORED, give
from pipeline_tests.support.waiting import wait_until
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


def generated_for_a_day(partition: Partition) -> Iterator[dict[str, object]]:
    day = partition.key
    yield from ({"day": day, "n": int(day[-2:])} for _ in range(500))


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


def test_rows_that_arrive_damaged_are_sent_again(
    database: str, north: ProcessHosts, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, generated)
    north["north"].damaged = 2
    report = begin(GENERATED, "all", hosts_lost_max=0).result(_DONE_S)
    assert report.error is None
    assert north["north"].damaged == 0, "the fault did not fire"
    assert not report.incidents
    assert_accounted(database, GENERATED, _GENERATED_ROWS)


def test_a_host_to_which_all_rows_arrive_damaged_is_lost_and_the_run_goes_on(
    database: str, north: ProcessHosts, begin: Begin, url: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, generated)
    north["north"].damaged = 1_000
    loading = begin(GENERATED, "all", host_silent_s=60)
    wait_until(lambda: north["north"].damaged < 997, "rows arrive damaged")
    north.add("south", url)
    report = loading.result(_DONE_S)
    assert report.error is None
    assert any(
        incident.kind == "host_lost" and "which it was sent: it arrived damaged" in incident.summary
        for incident in report.incidents
    )
    assert {row[0] for row in fetch(database, "select worker_host from rowledger.chunk")} == {"south"}
    assert_accounted(database, GENERATED, _GENERATED_ROWS)


def test_partitions_at_once_whose_spooled_files_have_equal_names_get_their_own_rows(
    database: str, tmp_path: Path, north: ProcessHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert north.hosts
    give(monkeypatch, generated_for_a_day)
    days = [f"2024-03-0{number}" for number in range(1, 6)]
    reports = load(database, GENERATED_BY_DAY, tmp_path, days, **{**QUICK, "workers": 3})
    assert [report.error for report in reports] == [None] * len(days)
    rows = fetch(database, "select day::text as day, n, count(*) as rows from generated_by_day group by 1, 2")
    assert {(row["day"], row["n"], row["rows"]) for row in rows} == {(day, int(day[-2:]), 500) for day in days}
    assert_nothing_left_over(database)


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
