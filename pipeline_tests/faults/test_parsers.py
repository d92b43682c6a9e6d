"""Faults inside the parser of JSON lines: a worker's death is an incident, and costs no row."""

import os
import signal
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.tables_of_parsers import COUNTED, FAULT, ONCE, write_lines

_INCIDENTS = "select kind, pid, exit_code, chunk_no from rowledger.incident order by incident_id"
_FAULTS = {
    "exits": ("exit_without_report", 0),
    "is killed": ("signal", -signal.SIGKILL),
    "crashes": ("signal", -signal.SIGSEGV),
    "hangs": ("stall", -signal.SIGKILL),
    "freezes": ("stall", -signal.SIGKILL),
    "eats memory": ("memory_limit", -signal.SIGKILL),
}
_NUMBERS = "select array_agg(number order by number) from counted"


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_worker_that_dies_in_the_parser_is_replaced_and_its_chunk_is_read_again(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    kind, exit_code = _FAULTS[fault]
    monkeypatch.setenv(FAULT, fault)
    monkeypatch.setenv(ONCE, str(tmp_path / "once"))
    (tmp_path / "once").touch()
    write_lines(tmp_path, 500)
    limits = {"rss_soft_limit_bytes": 300 * 2**20, "rss_hard_limit_bytes": 400 * 2**20}
    if kind == "stall":  # a busy machine needs more for the others
        limits["stall_timeout_s"] = 3

    report = load_one(database, COUNTED, tmp_path, "all", **limits)

    assert report.error is None
    (incident,) = fetch(database, _INCIDENTS)
    assert (incident["kind"], incident["exit_code"], incident["chunk_no"]) == (kind, exit_code, 0)
    assert incident["pid"] != os.getpid()
    assert [found.kind for found in report.incidents] == [kind]
    assert fetch_value(database, _NUMBERS) == [*range(500)]
    assert_nothing_left_over(database)


def test_a_chunk_that_no_parser_survives_fails_its_partition_and_a_rerun_resumes_at_it(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FAULT, "crashes")
    write_lines(tmp_path, 500)

    report = load_one(database, COUNTED, tmp_path, "all", chunk_attempts_max=1, respawns_max=3)

    assert report.error is not None
    assert {(row["kind"], row["chunk_no"]) for row in fetch(database, _INCIDENTS)} >= {("signal", 3)}
    assert fetch_value(database, "select count(*) from counted") == 0
    assert_nothing_left_over(database)

    monkeypatch.delenv(FAULT)
    rerun = load_one(database, COUNTED, tmp_path, "all")
    assert rerun.error is None
    assert rerun.resumed
    assert fetch_value(database, _NUMBERS) == [*range(500)]
