"""Faults inside the parser of CSV cost a worker and no row: nothing of the chunk is written yet, so another one parses it."""

from pathlib import Path

import pytest

from pipeline_tests.support.assertions import assert_accounted, assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.tables_with_faulty_parsers import ROWS, numbered, write_numbered
from rowledger.errors import WorkerTerminated
from rowledger.ledger.outcomes import IncidentKind

_LIMITS = {"rss_soft_limit_bytes": 400 * 2**20, "rss_hard_limit_bytes": 400 * 2**20}


@pytest.mark.parametrize(
    ("fault", "kind", "stall_timeout_s"),
    [
        ("kill", IncidentKind.SIGNAL, 60),
        ("segfault", IncidentKind.SIGNAL, 60),
        ("end", IncidentKind.EXIT_WITHOUT_REPORT, 60),
        ("hang", IncidentKind.STALL, 5),  # a busy machine needs more for the others
        ("eat memory", IncidentKind.MEMORY_LIMIT, 60),
    ],
)
def test_a_parser_at_fault_costs_a_worker_and_no_row(
    database: str, tmp_path: Path, fault: str, kind: IncidentKind, stall_timeout_s: float
) -> None:
    write_numbered(tmp_path)
    table = numbered(fault)

    report = load_one(database, table, tmp_path, "all", stall_timeout_s=stall_timeout_s, **_LIMITS)

    assert report.error is None
    assert [(incident.chunk_no, incident.kind) for incident in report.incidents] == [(1, kind)]
    assert fetch_value(database, "select attempt from rowledger.chunk where chunk_no = 1") == 2
    assert_accounted(database, table, ROWS)


def test_a_parser_that_fails_for_a_chunk_each_time_fails_the_load_and_not_the_run(
    database: str, tmp_path: Path
) -> None:
    write_numbered(tmp_path)

    report = load_one(database, numbered("segfault", always=True), tmp_path, "all", chunk_attempts_max=2)

    assert isinstance(report.error, WorkerTerminated)
    assert "chunk 1" in str(report.error)
    assert "SIGSEGV" in str(report.error)
    assert fetch_value(database, "select count(*) from numbered") == 0
    committed = fetch(database, "select chunk_no from rowledger.chunk where state = 'committed'")
    assert [0] in [list(row) for row in committed]
    assert_nothing_left_over(database)
    (tmp_path / "numbered.failed").touch()
    table = numbered("segfault")
    assert load_one(database, table, tmp_path, "all").error is None
    assert_accounted(database, table, ROWS)
