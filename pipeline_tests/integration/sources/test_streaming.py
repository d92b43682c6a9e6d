"""Sources that are loaded while they still produce: chunks commit as they come, and nothing is published before the end."""

import threading
from pathlib import Path

import polars as pl
import pytest

from pipeline_tests.support import run_process
from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load, load_one, set_failpoints
from pipeline_tests.support.tables import DAY, SCHEMAS, Row, changed, events
from pipeline_tests.support.tables_of_spooled_files import TRICKLE
from pipeline_tests.support.waiting import wait_until
from rowledger.errors import DeadLetterBudgetSpent, DiscrepancyFound, SourceError
from rowledger.ledger.reports import PartitionReport
from rowledger.load.partition_load import PartitionLoad
from rowledger.settings import settings

_COMMITTED = "select count(*) from rowledger.chunk where state = 'committed'"


def _write(landing: Path, number: int, rows: list[Row]) -> None:
    _mark(landing, f"{number}.parquet")
    pl.DataFrame(rows, schema=SCHEMAS["events"]).write_parquet(_folder(landing) / f"{number}.parquet")


def _mark(landing: Path, name: str) -> Path:
    _folder(landing).mkdir(parents=True, exist_ok=True)
    (_folder(landing) / name).touch()
    return _folder(landing) / name


def _folder(landing: Path) -> Path:
    return landing / "trickle" / DAY


def test_chunks_commit_while_the_source_still_produces(database: str, tmp_path: Path) -> None:
    rows = events(250)
    _write(tmp_path, 1, rows[:150])
    held = _mark(tmp_path, "2.wait")
    _write(tmp_path, 3, rows[150:])
    reports: list[PartitionReport] = []
    run = threading.Thread(target=lambda: reports.append(load_one(database, TRICKLE, tmp_path, DAY)))
    run.start()
    wait_until(lambda: fetch_value(database, _COMMITTED) == 2, "the first file's chunks have committed")
    assert fetch_value(database, "select sealed from rowledger.load") is False
    assert fetch_value(database, "select count(*) from trickle") == 0
    held.unlink()
    run.join(60)
    assert [report.error for report in reports] == [None]
    assert reports[0].enqueued_rows == 250
    assert reports[0].chunks == 3
    assert_accounted(database, TRICKLE, rows)
    assert fetch_value(database, "select sealed from rowledger.load") is True


def test_a_source_without_rows_is_loaded(database: str, tmp_path: Path) -> None:
    _write(tmp_path, 1, [])
    assert load_one(database, TRICKLE, tmp_path, DAY).error is None
    assert_accounted(database, TRICKLE, [])


def test_a_source_that_fails_publishes_nothing_and_a_rerun_goes_on_behind_what_had_committed(
    database: str, tmp_path: Path
) -> None:
    rows = events(250)
    _write(tmp_path, 1, rows[:200])
    held = _mark(tmp_path, "2.wait")
    failure = _mark(tmp_path, "3.fail")
    _write(tmp_path, 4, rows[200:])
    reports: list[PartitionReport] = []
    run = threading.Thread(target=lambda: reports.append(load_one(database, TRICKLE, tmp_path, DAY)))
    run.start()
    wait_until(lambda: fetch_value(database, _COMMITTED) == 2, "two chunks have committed")
    held.unlink()
    run.join(60)
    assert isinstance(reports[0].error, SourceError)
    assert fetch_value(database, "select count(*) from trickle") == 0
    committed_at = fetch(database, "select committed_at from rowledger.chunk order by chunk_no")

    failure.unlink()
    rerun = load_one(database, TRICKLE, tmp_path, DAY)
    assert rerun.error is None
    assert rerun.resumed
    assert fetch(database, "select committed_at from rowledger.chunk order by chunk_no")[:2] == committed_at
    assert_accounted(database, TRICKLE, rows)


@pytest.mark.parametrize(
    ("before", "after"),
    [((1, 151), (0, 150)), ((0, 250), (0, 100)), ((0, 100), (0, 250))],
    ids=["other rows", "fewer chunks", "more chunks"],
)
def test_a_rerun_whose_source_gives_other_chunks_loads_those(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: tuple[int, int], after: tuple[int, int]
) -> None:
    _write(tmp_path, 1, events(250)[slice(*before)])
    set_failpoints(monkeypatch, "before_publish=raise")
    assert load_one(database, TRICKLE, tmp_path, DAY).error is not None
    set_failpoints(monkeypatch, "")
    _write(tmp_path, 1, events(250)[slice(*after)])
    assert load_one(database, TRICKLE, tmp_path, DAY).error is None
    assert_accounted(database, TRICKLE, events(250)[slice(*after)])


@pytest.mark.parametrize("place", ["before_record", "before_seal", "before_reconcile"])
@pytest.mark.parametrize("action", ["sigkill", "exit0", "raise"])
def test_a_run_that_dies_while_it_spools_is_converged_by_the_next(
    database: str, tmp_path: Path, place: str, action: str
) -> None:
    rows = events(250)
    for number in range(5):
        _write(tmp_path, number, rows[number * 50 : (number + 1) * 50])
    where = "@chunk=3" if place == "before_record" else ""
    with run_process.start(database, TRICKLE, tmp_path, [DAY], failpoints=f"{place}={action}{where}") as process:
        process.communicate(timeout=120)
    assert fetch_value(database, "select count(*) from trickle") == 0
    assert load_one(database, TRICKLE, tmp_path, DAY, busy_wait_s=30).error is None
    assert_accounted(database, TRICKLE, rows)
    assert list(settings().spool_dir.iterdir()) == [], "what the dead run had spooled is swept"


def test_a_source_that_gives_nothing_for_too_long_fails_by_name(database: str, tmp_path: Path) -> None:
    held = _mark(tmp_path, "1.wait")
    report = load_one(database, TRICKLE, tmp_path, DAY, planning_timeout_s=0.3, close_timeout_s=0.3)
    held.unlink()
    assert isinstance(report.error, SourceError)
    assert "gave no chunk for 0.3 s" in str(report.error)


def test_a_manifest_that_was_not_sealed_is_never_published(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_seal(*_: object) -> bool:
        return True

    _write(tmp_path, 1, events(50))
    monkeypatch.setattr(PartitionLoad, "_seal", no_seal)
    report = load_one(database, TRICKLE, tmp_path, DAY)
    assert isinstance(report.error, DiscrepancyFound)
    assert "the manifest in the ledger is not complete" in str(report.error)
    assert fetch_value(database, "select count(*) from trickle") == 0


def test_the_share_of_dead_letters_is_judged_when_all_rows_have_come(database: str, tmp_path: Path) -> None:
    rows = events(100)
    bad = changed(rows, {number: {"event_id": -1} for number in range(60)})
    _write(tmp_path, 1, bad[:60])
    _write(tmp_path, 2, bad[60:])
    report = load_one(database, TRICKLE, tmp_path, DAY)
    assert isinstance(report.error, DeadLetterBudgetSpent)
    assert "60 rows were refused, the budget is 50" in str(report.error)
    assert "60" in str(report.error)


def test_spooled_rows_are_private_and_gone_behind_the_run(database: str, tmp_path: Path) -> None:
    _write(tmp_path, 1, events(50))
    held = _mark(tmp_path, "2.wait")
    run = threading.Thread(target=lambda: load_one(database, TRICKLE, tmp_path, DAY))
    run.start()
    spool = settings().spool_dir
    (file,) = wait_until(lambda: list(spool.glob("*/0/*.arrow")), "a chunk is spooled")
    modes = {oct(path.stat().st_mode & 0o777) for path in (file, file.parent, file.parent.parent, spool)}
    held.unlink()
    run.join(60)
    assert modes == {"0o600", "0o700"}
    assert list(spool.iterdir()) == []


def test_what_a_partition_has_spooled_is_gone_before_the_run_ends(database: str, tmp_path: Path) -> None:
    later = "2024-03-02"
    _write(tmp_path, 1, events(50))
    held = _mark(tmp_path, "2.wait")
    second = tmp_path / "trickle" / later
    second.mkdir()
    (second / "1.wait").touch()
    reports: list[PartitionReport] = []
    run = threading.Thread(
        target=lambda: reports.extend(load(database, TRICKLE, tmp_path, [DAY, later], partitions_in_flight=1))
    )
    run.start()
    spool = settings().spool_dir
    wait_until(lambda: list(spool.glob("*/0/*.arrow")), "a chunk of the first partition is spooled")
    held.unlink()
    (begun,) = wait_until(lambda: list(spool.glob("*/1")), "the second partition has begun")
    assert list(begun.parent.glob("0*")) == []
    (second / "1.wait").unlink()
    run.join(60)
    assert [report.enqueued_rows for report in reports] == [50, 0]


def test_a_dead_letter_names_its_own_file_and_row(database: str, tmp_path: Path) -> None:
    rows = changed(events(30), {12: {"event_id": -1}})
    rows[25] = dict(rows[3])
    _write(tmp_path, 1, rows[:10])
    _write(tmp_path, 2, rows[10:])
    assert load_one(database, TRICKLE, tmp_path, DAY).error is None
    letters = fetch(
        database, "select row_no, source, source_row, stage, reason from rowledger.dead_letter order by row_no"
    )
    assert [tuple(letter)[:4] for letter in letters] == [(12, "2.parquet", 2, "contract"), (25, "2.parquet", 15, "key")]
    assert letters[1]["reason"] == "same key (at, event_id) as row 3 of 1.parquet, which stays"
