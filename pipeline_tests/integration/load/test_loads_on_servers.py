"""A table on several servers: each partition is wholly on one, with a ledger there, and no server depends on another."""

from pathlib import Path

import polars as pl
import pytest

from pipeline_tests.support.assertions import assert_accounted, assert_nothing_left_over, table_rows
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load, load_one
from pipeline_tests.support.partitions import partitions_of
from pipeline_tests.support.tables_on_servers import (
    EU,
    SALES,
    SALES_BY_FUNCTION,
    US,
    moved,
    sales,
    set_servers,
    write_sales,
)
from rowledger.errors import DatabaseUnavailable, SpecError, TargetMismatch, UnknownPartition
from rowledger.load.scripted import load as load_from_python
from rowledger.sources.python import GivenRows
from rowledger.testing import load_and_report


@pytest.fixture(autouse=True)
def _two_servers(monkeypatch: pytest.MonkeyPatch, database: str, empty_database: str) -> None:
    set_servers(monkeypatch, eu=database, us=empty_database)


def test_each_partition_is_loaded_into_its_own_server(tmp_path: Path, database: str, empty_database: str) -> None:
    rows = {key: write_sales(tmp_path, key, sales(key, 250)) for key in ("us", "eu", "uk")}
    observer = Recorder()
    reports = load(None, SALES, tmp_path, ["us", "eu", "uk"], observer=observer, workers=2)
    assert [(report.partition_key, report.server, report.error) for report in reports] == [
        ("us", US, None),
        ("eu", EU, None),
        ("uk", EU, None),
    ]
    assert {report.partition_key: report.server for report in observer.reports} == {"us": US, "eu": EU, "uk": EU}
    last = observer.progresses[-1]
    assert (last.counts.written_rows, last.partitions_done, last.partitions) == (750, 3, 3)
    assert_accounted(database, SALES, rows["eu"] + rows["uk"])
    assert_accounted(empty_database, SALES, rows["us"])  # which had no ledger and no table before


def test_the_settings_of_the_run_are_divided_among_the_servers(
    tmp_path: Path, database: str, empty_database: str
) -> None:
    for key in ("us", "eu", "uk"):
        write_sales(tmp_path, key, sales(key, 900))
    reports = load(None, SALES, tmp_path, ["us", "eu", "uk"], workers=3)
    assert all(report.published for report in reports)
    pids = [fetch(url, "select distinct worker_pid from rowledger.chunk") for url in (database, empty_database)]
    assert len(pids[0]) <= 2
    assert len(pids[1]) == 1


def test_a_server_that_cannot_be_reached_fails_its_own_partitions_alone(
    tmp_path: Path, database: str, empty_database: str, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {key: write_sales(tmp_path, key, sales(key, 120)) for key in ("us", "eu")}
    set_servers(monkeypatch, eu=database, us=f"postgresql://someone:hidden@127.0.0.1:{unused_port}/away")
    observer = Recorder()
    us, eu = load(None, SALES, tmp_path, ["us", "eu"], observer=observer)
    assert isinstance(us.error, DatabaseUnavailable)
    assert str(us.error).startswith(f"server {US} (127.0.0.1:{unused_port}/away): ")
    assert us.server == US
    assert "hidden" not in f"{us.error}{observer.text}"
    assert eu.published
    assert {report.partition_key: report.published for report in observer.reports} == {"us": False, "eu": True}
    assert_accounted(database, SALES, rows["eu"])
    set_servers(monkeypatch, eu=database, us=empty_database)
    assert load_one(None, SALES, tmp_path, "us").published
    assert_accounted(empty_database, SALES, rows["us"])


def test_a_target_of_another_shape_on_one_server_stops_no_other(
    tmp_path: Path, database: str, empty_database: str
) -> None:
    rows = {key: write_sales(tmp_path, key, sales(key, 10)) for key in ("us", "eu")}
    fetch(empty_database, "create table public.sales (region text not null, sale_id text, item integer)")
    us, eu = load(None, SALES, tmp_path, ["us", "eu"])
    assert isinstance(us.error, TargetMismatch)
    assert eu.published
    assert_accounted(database, SALES, rows["eu"])


def test_a_variable_that_is_not_set_fails_the_partitions_of_its_server(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {key: write_sales(tmp_path, key, sales(key, 10)) for key in ("us", "eu")}
    monkeypatch.delenv(US)
    us, eu = load(None, SALES, tmp_path, ["us", "eu"])
    assert f"the environment variable {US} is not set here" in str(us.error)
    assert eu.published
    assert_accounted(database, SALES, rows["eu"])


def test_two_variables_may_name_one_server(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_servers(monkeypatch, eu=database, us=database)
    rows = [row for key in ("us", "eu") for row in write_sales(tmp_path, key, sales(key, 30))]
    reports = load(None, SALES, tmp_path, ["us", "eu"])
    assert [report.server for report in reports] == [EU, EU]  # the first that the spec names stands for both
    assert_accounted(database, SALES, rows)


def test_a_function_says_where_a_partition_is(tmp_path: Path, database: str, empty_database: str) -> None:
    rows = {key: write_sales(tmp_path, key, sales(key, 20)) for key in ("us", "uk")}
    assert all(report.published for report in load(None, SALES_BY_FUNCTION, tmp_path, ["us", "uk"]))
    assert_accounted(database, SALES_BY_FUNCTION, rows["uk"])
    assert_accounted(empty_database, SALES_BY_FUNCTION, rows["us"])


@pytest.mark.parametrize(
    ("spec", "key", "kind", "told"),
    [
        (SALES, "mars", UnknownPartition, "servers names no variable for it, only for eu, uk, us"),
        (
            SALES_BY_FUNCTION,
            "mars",
            SpecError,
            "returned 'MARS_DATABASE_URL' for partition mars, and its variables are",
        ),
        (SALES_BY_FUNCTION, "nowhere", SpecError, "server_of_sale raised KeyError for partition nowhere"),
    ],
)
def test_a_partition_without_a_server_stops_the_run_before_anything_is_loaded(
    spec: object, key: str, kind: type[Exception], told: str, tmp_path: Path, database: str
) -> None:
    write_sales(tmp_path, "eu", sales("eu", 5))
    with pytest.raises(kind, match=told):
        load(None, spec, tmp_path, ["eu", key])  # type: ignore[arg-type]
    assert fetch_value(database, "select count(*) from rowledger.load") == 0


def test_a_partition_that_has_moved_is_loaded_by_its_new_server(
    tmp_path: Path, database: str, empty_database: str
) -> None:
    rows = write_sales(tmp_path, "uk", sales("uk", 40))
    assert load_one(None, SALES, tmp_path, "uk").published
    report = load_one(None, moved(uk=US, eu=EU), tmp_path, "uk")
    assert (report.published, report.server, report.resumed) == (True, US, False)
    assert_accounted(empty_database, SALES, rows)
    assert_accounted(database, SALES, rows)  # the old server keeps its rows, and its ledger answers for them


def test_rows_given_together_go_to_the_servers_of_their_partitions(
    tmp_path: Path, database: str, empty_database: str
) -> None:
    spec = SALES.model_copy(update={"source": GivenRows()})
    rows = {key: sales(key, 50) for key in ("us", "eu", "uk")}
    together = (row for number in range(50) for row in (rows["us"][number], rows["eu"][number], rows["uk"][number]))
    reports = load_from_python(spec, partitions_of(spec, ["us", "eu", "uk"]), rows=together, landing_dir=tmp_path)
    assert [report.written_rows for report in reports] == [50, 50, 50]
    assert_accounted(database, SALES, rows["eu"] + rows["uk"])
    assert_accounted(empty_database, SALES, rows["us"])


def test_a_load_that_is_given_a_url_does_not_move_rows_to_that_server(tmp_path: Path, database: str) -> None:
    write_sales(tmp_path, "us", sales("us", 5))
    with pytest.raises(SpecError, match="its spec says by servers where each partition is"):
        load(database, SALES, tmp_path, ["us"])
    with pytest.raises(SpecError, match="names no servers"):
        load(None, SALES.model_copy(update={"servers": None}), tmp_path, ["us"])
    assert_nothing_left_over(database)


def test_the_tests_of_a_project_load_such_a_table_into_their_own_database(database: str) -> None:
    report = load_and_report(SALES, pl.DataFrame(sales("us", 3)), database=database)
    assert (report.error, report.server) == (None, "")
    assert sum(table_rows(database, SALES).values()) == 3
