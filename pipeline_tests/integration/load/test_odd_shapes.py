"""Tables as wide as PostgreSQL takes them, and values longer than all their neighbours: they load, and are compared."""

import json
from pathlib import Path

import polars as pl
import pytest

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.tables_of_odd_shapes import LONG, LONG_TEXT, WIDE, WIDE_NAMES
from rowledger.publish.verify import run_verify
from rowledger.spec.table import TableSpec, WriteMode

_WHOLE = "all"
_PATIENT = {"stall_timeout_s": 300.0}


def _write_wide(landing: Path, keys: range, value: int) -> None:
    columns = {name: [value if number % 500 == 0 else None] * len(keys) for number, name in enumerate(WIDE_NAMES)}
    frame = pl.DataFrame({"key": keys, **columns}, schema_overrides=dict.fromkeys(WIDE_NAMES, pl.Int16))
    frame.write_parquet(landing / "wide.parquet")


@pytest.mark.parametrize("mode", list(WriteMode))
def test_a_table_of_1600_columns_loads_and_is_verified(database: str, tmp_path: Path, mode: WriteMode) -> None:
    spec: TableSpec = WIDE[mode]
    _write_wide(tmp_path, range(20), 1)
    report = load_one(database, spec, tmp_path, _WHOLE, **_PATIENT)
    assert report.error is None
    _write_wide(tmp_path, range(10, 30) if mode is WriteMode.UPSERT else range(20, 40), 2)
    report = load_one(database, spec, tmp_path, _WHOLE, **_PATIENT)
    assert report.error is None
    expected = {WriteMode.REPLACE: (20, 40), WriteMode.APPEND: (40, 60), WriteMode.UPSERT: (30, 50)}[mode]
    found = fetch(database, f"select count(*), sum(c1), sum(c501), sum(c1501), count(c1599) from public.{spec.name}")
    assert tuple(found[0]) == (expected[0], expected[1], expected[1], expected[1], 0)
    assert all(verification.passed for verification in run_verify(spec, url=database))
    fetch(database, f"update public.{spec.name} set c1501 = 7 where key = 25")
    assert not all(verification.passed for verification in run_verify(spec, url=database)), "the last ones are compared"
    assert_nothing_left_over(database)


def test_a_row_with_millions_of_bytes_in_each_column_loads_among_short_ones(database: str, tmp_path: Path) -> None:
    report = load_one(database, LONG, tmp_path, _WHOLE, chunk_rows_max=10_000, batch_rows=10_000, **_PATIENT)
    assert report.error is None
    assert (report.written_rows, report.dead_lettered_rows, list(report.incidents)) == (1_001, 0, [])
    (row,) = fetch(database, "select * from public.long where number = 1000")
    assert row["text"] == LONG_TEXT
    assert row["octets"] == LONG_TEXT.encode()
    assert row["texts"] == ["a", LONG_TEXT]
    assert str(row["amount"]) == "9" * 100_000 + ".5"
    assert json.loads(row["document"]) == {"a": LONG_TEXT}
    assert all(verification.passed for verification in run_verify(LONG, url=database))
    changes = {
        "text = 'b' || text": "text = substr(text, 2)",
        r"octets = octets || '\x00'": "octets = substr(octets, 1, length(octets) - 1)",
        "texts[2] = texts[2] || 'b'": "texts[2] = left(texts[2], -1)",
        "amount = amount + 1": "amount = amount - 1",
    }
    for change, undoing in changes.items():
        fetch(database, f"update public.long set {change} where number = 1000")
        assert not all(verification.passed for verification in run_verify(LONG, url=database)), change
        fetch(database, f"update public.long set {undoing} where number = 1000")
    assert all(verification.passed for verification in run_verify(LONG, url=database))
