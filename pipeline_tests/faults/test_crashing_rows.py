"""A row that kills every worker that takes it is found, kept as a dead letter, and its neighbours load."""

import signal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one, set_failpoints
from pipeline_tests.support.tables import DAY, EVENTS, changed, events, write_source
from rowledger.contract.check import Contract
from rowledger.contract.checked import Checked
from rowledger.errors import ChunkTimedOut, WorkerTerminated
from rowledger.ledger.outcomes import IncidentKind


def test_the_row_that_kills_workers_becomes_a_dead_letter_and_its_neighbours_load(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(250)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "while_encoding=sigsegv@row=117")
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_attempts_max=2)
    assert report.error is None
    letters = fetch(database, "select row_no, chunk_no, stage, reason, payload from rowledger.dead_letter")
    assert [(row["row_no"], row["chunk_no"], row["stage"]) for row in letters] == [(117, 1, "crash")]
    assert "SIGSEGV" in letters[0]["reason"]
    assert (report.written_rows, report.dead_lettered_rows) == (249, 1)
    assert_accounted(database, EVENTS, rows)
    kinds = [incident.kind for incident in report.incidents]
    assert kinds.count(IncidentKind.CRASHING_ROW) == 1
    assert {incident.exit_code for incident in report.deaths} == {-signal.SIGSEGV}
    # Two attempts at the chunk, one death a halving of 100 rows at most, three at the row alone.
    assert len(report.deaths) <= 2 + 7 + 3


def test_two_such_rows_of_a_chunk_and_a_refused_one_are_all_kept(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = changed(events(100), {40: {"code": "far too long for it"}})
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "while_encoding=exit0@row=3;while_encoding=exit1@row=90")
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_attempts_max=1, respawns_max=3)
    assert report.error is None, "deaths of the search are not charged to the respawn budget"
    letters = fetch(database, "select row_no, stage from rowledger.dead_letter order by row_no")
    assert [tuple(row) for row in letters] == [(3, "crash"), (40, "contract"), (90, "crash")]
    assert_accounted(database, EVENTS, rows)


def test_more_such_rows_than_allowed_fail_the_load(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(60)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, ";".join(f"while_encoding=exit1@row={row}" for row in (10, 20, 30)))
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_attempts_max=1, crash_rows_max=1)
    assert isinstance(report.error, WorkerTerminated)
    assert "more than 1 of its rows" in str(report.error)
    assert fetch_value(database, "select count(*) from events") == 0
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).resumed
    assert_accounted(database, EVENTS, rows)


def test_a_chunk_that_kills_whatever_its_rows_has_no_row_to_blame(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(50)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "before_begin=exit1")
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_attempts_max=1)
    assert isinstance(report.error, WorkerTerminated)
    assert report.error.exit_code == 1
    assert len(report.deaths) == 2, "the attempt, and one with no rows at all"
    assert fetch_value(database, "select count(*) from rowledger.dead_letter") == 0
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)


def test_a_killer_from_outside_that_stops_does_not_cost_a_row(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(50)
    write_source(tmp_path, "events", DAY, rows)
    # The first attempt dies, the empty probe lives, and so does everything after the second probe.
    set_failpoints(monkeypatch, "mid_copy=sigkill@attempt=1;mid_copy=sigkill@attempt=3")
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_attempts_max=1)
    assert report.error is None
    assert report.dead_lettered_rows == 0
    assert_accounted(database, EVENTS, rows)


def test_a_row_that_kills_is_left_alone_when_duplicates_are_looked_for(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Duplicates are told apart by the source, which the supervisor reads itself: it must not meet the row that kills."""
    twice = events(30)
    rows = [*twice, dict(twice[3])]
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "while_encoding=sigsegv@row=17")
    looked_at: list[str] = []
    original = Contract.check

    def check(self: Contract, frame: pl.DataFrame, **options: Any) -> Checked:
        looked_at.extend(frame["name"])
        return original(self, frame, **options)

    monkeypatch.setattr(Contract, "check", check)
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_attempts_max=1)
    assert report.error is None
    letters = fetch(database, "select row_no, stage from rowledger.dead_letter order by row_no")
    assert [tuple(row) for row in letters] == [(17, "crash"), (30, "key")]
    assert rows[4]["name"] in looked_at
    assert rows[17]["name"] not in looked_at
    assert_accounted(database, EVENTS, rows)


def test_a_stall_blames_no_row(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever holds a chunk up, a lock of somebody's for one, rows are not set aside for it."""
    rows = events(60)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "while_encoding=sleep@row=17")
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_attempts_max=1, stall_timeout_s=3)
    assert isinstance(report.error, ChunkTimedOut)
    assert fetch_value(database, "select count(*) from rowledger.dead_letter") == 0
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)


def test_a_stall_in_the_middle_of_the_search_ends_it(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = events(60)
    write_source(tmp_path, "events", DAY, rows)
    set_failpoints(monkeypatch, "while_encoding=exit1@attempt=1;while_encoding=sleep@attempt=3")
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_attempts_max=1, stall_timeout_s=3)
    assert isinstance(report.error, WorkerTerminated)
    assert [death.kind for death in report.deaths] == [IncidentKind.CRASH, IncidentKind.STALL]
    assert fetch_value(database, "select count(*) from rowledger.dead_letter") == 0
    set_failpoints(monkeypatch, "")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    assert_accounted(database, EVENTS, rows)
