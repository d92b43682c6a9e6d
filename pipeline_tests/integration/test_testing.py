"""`rowledger.testing`, as the tests of a project elsewhere use it."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_tests.support.database import fetch_value
from pipeline_tests.support.partitions import partition_of
from pipeline_tests.support.tables import DAY, EVENTS, events, write_source
from rowledger.errors import DeadLetterBudgetSpent, RowledgerError
from rowledger.ledger import Check, CheckName, Incident, IncidentKind, PartitionReport, RowCounts
from rowledger.testing import assert_balanced, load_and_report, refused_rows

_CHECKOUT = Path(__file__).parents[2]
_TABLES = """
    from datetime import date
    from pydantic import BaseModel
    from rowledger import CsvFiles, DeadLetterBudget, TableSpec

    class Sale(BaseModel):
        day: date
        price: float
        shop: str = "north"

    SALES = TableSpec(
        name="sales",
        row=Sale,
        source=CsvFiles(path="{landing}/sales/{partition_key}.csv"),
        partition_by="day",
        dead_letters=DeadLetterBudget(rows_max=1, share_max=1.0),
    )
"""
_TESTS = """
    import os
    from datetime import date
    import polars as pl
    import pytest
    from rowledger import landing_folder
    from rowledger.errors import DeadLetterBudgetSpent
    from rowledger.testing import assert_balanced, load_and_report, refused_rows
    from tables import SALES, Sale

    GOOD = {"day": date(2024, 1, 1), "price": 1.5}

    @pytest.mark.parametrize("rows", [[GOOD, GOOD], [Sale(**GOOD)] * 2, pl.DataFrame([GOOD, GOOD])])
    def test_rows_of_any_kind_are_loaded_into_a_database_of_their_own(rowledger_database, rows):
        report = load_and_report(SALES, rows)
        assert_balanced(report)
        assert (report.load_id, report.written_rows) == (1, 2)

    def test_a_refused_row_is_told(rowledger_database):
        report = load_and_report(SALES, [GOOD, {**GOOD, "price": None}], database=rowledger_database)
        assert_balanced(report)
        (refused,) = refused_rows(report)
        assert (refused.row_no, refused.stage, refused.column) == (1, "contract", "price")
        assert "null" in refused.reason

    def test_too_many_refused_rows_are_no_balanced_load(rowledger_database):
        report = load_and_report(SALES, [{**GOOD, "price": None}] * 3)
        assert isinstance(report.error, DeadLetterBudgetSpent)
        with pytest.raises(AssertionError, match="not published: DeadLetterBudgetSpent"):
            assert_balanced(report)

    def test_files_of_the_test_are_read_by_the_spec_s_own_source(rowledger_database, tmp_path):
        (tmp_path / "sales").mkdir()
        (tmp_path / "sales" / "all.csv").write_text("day,price\\n2024-01-01,1.5\\n")
        report = load_and_report(SALES, landing_dir=tmp_path)
        assert_balanced(report)
        assert report.written_rows == 1

    def test_a_key_is_a_partition_where_it_says_which_rows_are_meant(rowledger_database):
        with pytest.raises(TypeError, match='give Partition'):
            load_and_report(SALES, [GOOD], partition="2024-01-01")
        report = load_and_report(SALES.model_copy(update={"partition_by": "shop"}), [GOOD], partition="north")
        assert_balanced(report)
        assert (report.partition_key, report.written_rows) == ("north", 1)

    def test_the_database_and_the_folder_of_the_test_are_the_default(rowledger_database, tmp_path):
        assert os.environ["ROWLEDGER_DATABASE_URL"] == rowledger_database
        assert landing_folder("sales").is_relative_to(tmp_path)
"""
_OURS = "select count(*) from pg_database where datname ~ '^rowledger_test_[0-9a-f]{16}$'"


def test_the_tests_of_a_project_get_a_database_each_and_leave_none(server: str, tmp_path: Path) -> None:
    for name, text in {
        "conftest.py": 'pytest_plugins = ["rowledger.testing"]\n',
        "tables.py": _TABLES,
        "test_sales.py": _TESTS,
        "pytest.ini": "[pytest]\npythonpath = .\n",
    }.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_CHECKOUT), "ROWLEDGER_DATABASE_URL": server},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "8 passed" in ran.stdout
    assert fetch_value(server, _OURS) == 0


def test_a_test_that_takes_no_database_does_not_load_into_the_project_s(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", database)
    with pytest.raises(RowledgerError, match="take the fixture rowledger_database"):
        load_and_report(EVENTS, events(3))
    assert fetch_value(database, "select count(*) from rowledger.load") == 0


def test_a_partition_is_loaded_as_in_a_run(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, events(3))
    report = load_and_report(EVENTS, partition=partition_of(EVENTS, DAY), database=database, landing_dir=tmp_path)
    assert_balanced(report)
    assert (report.partition_key, report.written_rows) == (DAY, 3)
    assert refused_rows(report, database=database) == []


def test_a_load_that_does_not_balance_fails_with_its_figures() -> None:
    balanced = PartitionReport(
        "t", "all", 1, RowCounts(10, 7, 2, 1, 0), 1, 0, 0.1, 0, resumed=False, checks=(), incidents=()
    )
    assert_balanced(balanced)
    assert_balanced(replace(balanced, counts=RowCounts(10, 9, 2, 1, 2)))
    death = Incident(IncidentKind.SIGNAL, 17, -9, "all", 0, 1, "ended by SIGKILL", host="node-3")
    failed = Check(CheckName.ROW_BALANCE, passed=False, summary="198 rows are missing")
    with pytest.raises(AssertionError) as caught:
        assert_balanced(replace(balanced, counts=RowCounts(10, 6, 2, 1, 0), checks=(failed,), incidents=(death,)))
    assert str(caught.value).splitlines() == [
        "table t, partition all: 10 enqueued + 0 added, 6 written + 2 dead-lettered + 1 filtered, 1 missing",
        "  check every_row_accounted_for failed: 198 rows are missing",
        "  worker 17 on node-3: ended by SIGKILL",
    ]
    with pytest.raises(AssertionError, match="not published: DeadLetterBudgetSpent: 3 rows refused"):
        assert_balanced(replace(balanced, error=DeadLetterBudgetSpent("3 rows refused")))
