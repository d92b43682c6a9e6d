"""Faults in the process that reads a source: each is an incident with its pid and a red partition, never a dead run."""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load, load_one, set_failpoints
from pipeline_tests.support.tables_of_producers import (
    ANSWERED,
    CLOSED,
    FAULT,
    FICKLE,
    FORKED_IN_WORKERS,
    NUMBERED,
    NUMBERED_BY_KEY,
    NUMBERED_CSV,
    SHRINKING,
)
from pipeline_tests.support.waiting import producer_pids, wait_until, worker_pids
from rowledger.errors import ProducerTerminated, SourceError
from rowledger.sources.text_ranges import RangedTextFiles

_INCIDENTS = "select kind, pid, exit_code, load_id, summary from rowledger.incident order by incident_id"
_FAULTS = {
    "exits": ("exit_without_report", 0),
    "is killed": ("signal", -signal.SIGKILL),
    "crashes": ("signal", -signal.SIGSEGV),
    "hangs": ("stall", -signal.SIGKILL),
    "freezes": ("stall", -signal.SIGKILL),
    "eats memory": ("memory_limit", -signal.SIGKILL),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_function_that_ends_its_process_is_an_incident_and_a_rerun_goes_on_behind_what_had_committed(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    kind, exit_code = _FAULTS[fault]
    monkeypatch.setenv(FAULT, fault)
    limits = {"rss_soft_limit_bytes": 300 * 2**20, "rss_hard_limit_bytes": 400 * 2**20}
    if kind == "stall":  # a busy machine needs more for the others
        limits["planning_timeout_s"] = 2

    report = load_one(database, NUMBERED, tmp_path, "all", **limits)

    assert isinstance(report.error, ProducerTerminated), report.error
    incident = dict(fetch(database, _INCIDENTS)[0])
    assert (incident["kind"], incident["exit_code"]) == (kind, exit_code)
    assert (report.error.cause, report.error.pid, report.error.exit_code) == (kind, incident["pid"], exit_code)
    assert incident["pid"] != os.getpid()
    assert f"(pid {incident['pid']})" in str(report.error)
    assert incident["load_id"] == report.load_id
    assert [found.kind for found in report.incidents] == [kind]
    assert fetch_value(database, "select count(*) from numbered") == 0
    assert_nothing_left_over(database)

    monkeypatch.delenv(FAULT)
    rerun = load_one(database, NUMBERED, tmp_path, "all")
    assert rerun.error is None
    assert fetch_value(database, "select count(distinct number) from numbered") == 500
    assert fetch_value(database, "select count(*) from numbered") == 500


def test_a_function_that_raises_system_exit_fails_its_partition_and_its_process_lives(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FAULT, "leaves by SystemExit")
    report = load_one(database, NUMBERED, tmp_path, "all")
    assert isinstance(report.error, SourceError)
    assert "raised builtins.SystemExit behind 250 rows" in str(report.error)
    assert fetch(database, _INCIDENTS) == []
    assert_nothing_left_over(database)


@pytest.mark.parametrize("fault", ["forks, and both go on", "forks, and the child leaves", "forks, and the child logs"])
def test_a_function_that_forks_gives_its_rows_once(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv(FAULT, fault)
    report = load_one(database, NUMBERED, tmp_path, "all")
    assert report.error is None
    assert fetch_value(database, "select array_agg(number order by number) from numbered") == [*range(500)]
    assert fetch(database, _INCIDENTS) == []
    assert_nothing_left_over(database)


def test_a_transform_that_forks_writes_its_rows_once(database: str, tmp_path: Path) -> None:
    observer = Recorder()
    report = load_one(database, FORKED_IN_WORKERS, tmp_path, "all", observer=observer)
    assert report.error is None
    assert fetch_value(database, "select array_agg(number order by number) from forked_in_workers") == [*range(500)]
    assert fetch(database, _INCIDENTS) == []
    assert "a forked process came back from the code that had forked it, and was ended" in observer.text


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("forks, and the child logs", "the child is at work"),
        ("logs what has no text", "--- Logging error ---"),
        ("logs what is no text", "a name in another encoding: \\udce4"),
        ("logs more than a message holds", "x" * 1_000),
        ("logs at INFO, which it has asked for", "page 3 of 5"),
    ],
)
def test_whatever_a_function_logs_is_in_the_log_and_fails_no_load(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, said: str
) -> None:
    monkeypatch.setenv(FAULT, fault)
    observer = Recorder()
    assert load_one(database, NUMBERED, tmp_path, "all", observer=observer).error is None
    assert said in observer.text


def test_what_a_library_logs_at_info_is_not_in_the_log(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FAULT, "logs at INFO")
    observer = Recorder()
    assert load_one(database, NUMBERED, tmp_path, "all", observer=observer).error is None
    assert "the last rows come" in observer.text
    assert "token" not in observer.text


def test_the_process_that_reads_a_source_serves_one_partition_after_another(database: str, tmp_path: Path) -> None:
    keys = [str(number) for number in range(5)]
    reports = load(database, NUMBERED_BY_KEY, tmp_path, keys, partitions_in_flight=1)
    assert [report.error for report in reports] == [None] * 5
    pids = fetch(database, "select distinct pid from numbered_by_key")
    assert len(pids) == 1
    assert pids[0]["pid"] != os.getpid()
    assert_nothing_left_over(database)


def test_what_a_function_prints_is_in_the_log(database: str, tmp_path: Path) -> None:
    observer = Recorder()
    assert load_one(database, NUMBERED, tmp_path, "all", observer=observer).error is None
    (line,) = [line for line in observer.lines if "the last rows come" in line]
    assert "partition all, source printed: the last rows come" in line


def test_a_function_is_closed_when_its_load_fails_before_its_end(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLOSED, str(tmp_path / "closed"))
    set_failpoints(monkeypatch, "before_record=raise@chunk=1")
    assert load_one(database, NUMBERED, tmp_path, "all").error is not None
    assert (tmp_path / "closed").exists()
    assert_nothing_left_over(database)


def _read_by_a_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a small file read by a producer too, as large ones are."""
    monkeypatch.setattr(RangedTextFiles, "read_at_once_bytes_max", 0)


@pytest.mark.parametrize("action", ["sigkill", "exit0", "exit1", "sigsegv"])
def test_a_file_whose_reader_dies_is_read_again_and_loaded_once(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    _read_by_a_producer(monkeypatch)
    (tmp_path / "numbered.csv").write_text("number,pid\n" + "".join(f"{n},0\n" for n in range(950)))
    set_failpoints(monkeypatch, f"in_spooling={action}@chunk=3,attempt=1;in_spooling={action}@chunk=5,attempt=2")
    report = load_one(database, NUMBERED_CSV, tmp_path, "all")
    assert report.error is None
    assert (report.enqueued_rows, report.chunks) == (950, 10)
    incidents = fetch(database, _INCIDENTS)
    assert len({incident["pid"] for incident in incidents}) == 2
    assert {incident["load_id"] for incident in incidents} == {report.load_id}
    assert all(
        incident["summary"].startswith("while the source was read: ended by") or "ended with" in incident["summary"]
        for incident in incidents
    )
    assert fetch_value(database, "select count(distinct number) from numbered_csv") == 950
    assert fetch_value(database, "select count(*) from numbered_csv") == 950
    assert_nothing_left_over(database)


def test_a_file_whose_readers_all_die_fails_its_partition(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _read_by_a_producer(monkeypatch)
    (tmp_path / "numbered.csv").write_text("number,pid\n1,1\n")
    set_failpoints(monkeypatch, "in_spooling=sigkill")
    report = load_one(database, NUMBERED_CSV, tmp_path, "all", chunk_attempts_max=3)
    assert isinstance(report.error, ProducerTerminated)
    assert len(fetch(database, _INCIDENTS)) == 3
    assert fetch_value(database, "select count(*) from numbered_csv") == 0
    assert_nothing_left_over(database)


def test_a_source_that_gives_other_rows_when_it_is_read_again_fails_its_partition(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_failpoints(monkeypatch, "in_spooling=sigkill@chunk=1,attempt=1")
    report = load_one(database, FICKLE, tmp_path, "all")
    assert isinstance(report.error, SourceError)
    assert "gave other rows when it was read again" in str(report.error)
    assert fetch_value(database, "select count(*) from fickle") == 0
    assert_nothing_left_over(database)


def test_a_source_that_gives_fewer_rows_when_it_is_read_again_fails_its_partition(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_failpoints(monkeypatch, "in_spooling=sigkill@chunk=2,attempt=1")
    report = load_one(database, SHRINKING, tmp_path, "all")
    assert isinstance(report.error, SourceError)
    assert "gave 1 chunk when it was read again, 2 before" in str(report.error)
    assert fetch_value(database, "select count(*) from shrinking") == 0
    assert_nothing_left_over(database)


# ---- queries --------------------------------------------------------------------------------------------------------------


_FAULTS_OF_QUERIES = {
    "is terminated": (
        SourceError,
        "SHOP_URL: waiting for rows failed: terminating connection due to administrator command",
    ),
    "fails": (SourceError, "SHOP_URL: waiting for rows failed: division by zero"),
    "hangs": (ProducerTerminated, "stall"),
    "gives too much": (ProducerTerminated, "memory_limit"),
}
_READING = {"chunk_rows_max": 20_000, "batch_rows": 8_192}
_OF_LIBPQ = "?gssencmode=disable"
"""A part of a URL that has the query read through the driver."""


@pytest.fixture(params=["", _OF_LIBPQ], ids=["as text", "by the driver"])
def shop(request: pytest.FixtureRequest, database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database that a query is asked of, with an empty table of faults."""
    monkeypatch.setenv("SHOP_URL", database + request.param)
    fetch(database, "create table faults (fault text)")
    return database


def _require_rerun_goes_on(shop: str, landing: Path, failed: int | None) -> None:
    """Have the fault end, and hold what the next run makes of what the failed one has left."""
    assert fetch_value(shop, "select count(*) from answered") == 0
    committed = fetch(shop, "select chunk_no, worker_pid from rowledger.chunk where state = 'committed' order by 1")
    assert_nothing_left_over(shop)
    fetch(shop, "delete from faults")
    rerun = load_one(shop, ANSWERED, landing, "all", **_READING)
    assert rerun.error is None
    assert rerun.load_id == failed
    assert fetch_value(shop, "select array[count(*), count(distinct number)] from answered") == [300_000, 300_000]
    chunks = fetch(shop, "select chunk_no, worker_pid from rowledger.chunk order by 1")
    assert chunks[: len(committed)] == committed  # those were not written again
    assert_nothing_left_over(shop)


@pytest.mark.parametrize("fault", _FAULTS_OF_QUERIES)
def test_a_fault_in_the_middle_of_a_query_fails_its_partition_and_a_rerun_goes_on_behind_what_had_committed(
    shop: str, tmp_path: Path, fault: str
) -> None:
    kind, told = _FAULTS_OF_QUERIES[fault]
    fetch(shop, "insert into faults values ($1)", fault)
    limits = {"rss_soft_limit_bytes": 400 * 2**20, "rss_hard_limit_bytes": 500 * 2**20}
    if fault == "hangs":
        limits["planning_timeout_s"] = 3
    observer = Recorder()

    report = load_one(shop, ANSWERED, tmp_path, "all", observer=observer, **limits, **_READING)

    assert isinstance(report.error, kind), report.error
    incidents = fetch(shop, _INCIDENTS)
    if isinstance(report.error, ProducerTerminated):
        assert report.error.cause == told
        assert [(one["kind"], one["exit_code"], one["pid"]) for one in incidents] == [
            (told, -signal.SIGKILL, report.error.pid)
        ]
    else:
        assert told in str(report.error)
        assert incidents == []
    assert "secret" not in f"{report.error}{observer.text}"
    _require_rerun_goes_on(shop, tmp_path, report.load_id)


def test_a_query_whose_process_is_killed_ends_and_a_rerun_goes_on_behind_what_had_committed(
    shop: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    fetch(shop, "insert into faults values ('hangs')")
    process = start(shop, ANSWERED, tmp_path, ["all"], **_READING)
    sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
    wait_until(lambda: fetch_value(shop, sleeping), "the query hangs")
    committed = "select count(*) from rowledger.chunk where state = 'committed'"
    wait_until(lambda: fetch_value(shop, committed), "the first rows have committed")
    (producer,) = producer_pids(process.pid)

    os.kill(producer, signal.SIGKILL)

    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1, said
    (incident,) = fetch(shop, _INCIDENTS)
    assert (incident["kind"], incident["exit_code"], incident["pid"]) == ("signal", -signal.SIGKILL, producer)
    wait_until(lambda: not fetch_value(shop, sleeping), "the server has ended the query", timeout_s=10)
    _require_rerun_goes_on(shop, tmp_path, incident["load_id"])


def test_a_query_that_waits_for_a_lock_is_ended_in_time(shop: str, tmp_path: Path) -> None:
    with closing(psycopg2.connect(shop, connect_timeout=20)) as holder, holder.cursor() as cursor:
        cursor.execute("lock table faults in access exclusive mode")
        report = load_one(shop, ANSWERED, tmp_path, "all", planning_timeout_s=2, **_READING)

        assert isinstance(report.error, ProducerTerminated)
        assert report.error.cause == "stall"
        assert [incident["kind"] for incident in fetch(shop, _INCIDENTS)] == ["stall"]
        assert_nothing_left_over(shop)


def test_a_run_that_is_killed_takes_the_process_that_reads_its_source_along(
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    monkeypatch.setenv(FAULT, "hangs")
    process = start(database, NUMBERED, tmp_path, ["all"])
    committed = "select count(*) from rowledger.chunk where state = 'committed'"
    wait_until(lambda: fetch_value(database, committed) == 2, "the first rows have committed")
    (producer,) = producer_pids(process.pid)
    workers = worker_pids(process.pid)
    process.kill()
    process.wait(timeout=10)

    def are_gone() -> bool:
        return not any(
            Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()
            for pid in (producer, *workers)
        )

    wait_until(are_gone, "workers and producer are gone", timeout_s=5)
