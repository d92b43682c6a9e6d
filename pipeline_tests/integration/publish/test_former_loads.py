"""What Rowledger 0.1.0 has loaded is compared by the sums that it made, which take long values otherwise."""

import gzip
import json
from pathlib import Path

import pytest

from pipeline_tests.support.assertions import edited_loads
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one, set_failpoints
from pipeline_tests.support.tables import APPENDED_EVENTS, DAY, EVENTS, UPSERTED_EVENTS, Row, events, write_source
from pipeline_tests.support.tables_of_write_modes import (
    DAY as DAY_OF_SALES,
    KEYLESS_CSV,
    KEYLESS_SPOOLED,
    sales,
    write_csv_sales,
    write_sales,
)
from rowledger.errors import DiscrepancyFound
from rowledger.publish.verify import run_verify
from rowledger.spec.table import TableSpec

LONG = "é" * 50_000
SUMS = 'select count({0}), sum(hashtext({0} collate "C")) from {1}'


def _rows() -> list[Row]:
    rows = events(30, DAY)
    rows[3]["name"] = LONG
    rows[4]["note"] = LONG
    return rows


def _as_former(database: str, relation: str = "public.events") -> None:
    """The ledger as 0.1.0 left it: sums of hashes of whole values, and no version of who wrote it."""
    fingerprint = json.loads(fetch_value(database, "select fingerprint::text from rowledger.chunk"))
    for name in ("name", "note"):
        (sums,) = fetch(database, SUMS.format(name, relation))
        fingerprint[name] = [sums[0], str(sums[1])]
    fetch(database, "update rowledger.chunk set fingerprint = $1::text::jsonb", json.dumps(fingerprint))
    fetch(database, "update rowledger.load set rowledger_version = ''")
    ended = "where state <> 'loading'"
    fetch(database, f"update rowledger.load set chunks_digest = rowledger.digest_of_chunks(load_id) {ended}")
    fetch(database, f"update rowledger.load as entry set entry_digest = rowledger.digest_of_entry(entry) {ended}")
    assert edited_loads(database) == []


def _verified(database: str, spec: TableSpec = EVENTS) -> tuple[bool, str]:
    (verification,) = run_verify(spec, url=database)
    return verification.passed, "; ".join(check.summary for check in verification.checks)


@pytest.mark.parametrize("spec", [EVENTS, APPENDED_EVENTS, UPSERTED_EVENTS], ids=lambda spec: spec.write_mode)
def test_a_former_load_of_long_values_is_as_it_was_published(database: str, tmp_path: Path, spec: TableSpec) -> None:
    write_source(tmp_path, "events", DAY, _rows())
    assert load_one(database, spec, tmp_path, DAY).error is None
    _as_former(database)
    assert _verified(database, spec)[0]
    assert load_one(database, spec, tmp_path, DAY).error is None
    assert fetch_value(database, "select count(*) from public.events") == 30
    assert _verified(database, spec)[0]


def test_a_long_value_of_a_former_load_that_was_changed_is_seen(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, _rows())
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    _as_former(database)
    fetch(database, "update public.events set note = note || '!' where event_id = 4")
    passed, told = _verified(database)
    assert not passed
    assert "note: 24 values on both sides, but not the same ones" in told
    assert "name" not in told


def test_what_later_loads_add_to_former_long_values_is_compared_by_count(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, _rows())
    assert load_one(database, APPENDED_EVENTS, tmp_path, DAY).error is None
    _as_former(database)
    write_source(tmp_path, "events", DAY, events(20, DAY, first=30))
    assert load_one(database, APPENDED_EVENTS, tmp_path, DAY).error is None
    passed, told = _verified(database, APPENDED_EVENTS)
    assert passed
    assert "of name, note the count alone is compared" not in told  # no long value has come since
    late = events(10, DAY, first=50)
    late[0]["name"] = LONG
    write_source(tmp_path, "events", DAY, late)
    assert load_one(database, APPENDED_EVENTS, tmp_path, DAY).error is None
    passed, told = _verified(database, APPENDED_EVENTS)
    assert passed
    assert "of name the count alone is compared" in told
    fetch(database, "update public.events set note = null where event_id = 51")
    passed, told = _verified(database, APPENDED_EVENTS)
    assert not passed
    assert "note" in told


@pytest.mark.parametrize("is_long", [True, False])
def test_a_former_load_that_was_killed_is_resumed_or_begun_anew(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_long: bool
) -> None:
    write_source(tmp_path, "events", DAY, _rows() if is_long else events(30, DAY))
    set_failpoints(monkeypatch, "before_reconcile=raise")
    assert load_one(database, EVENTS, tmp_path, DAY).error is not None
    set_failpoints(monkeypatch, "")
    _as_former(database, "rowledger.staging_1")
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    states = [row[0] for row in fetch(database, "select state from rowledger.load order by load_id")]
    assert states == (["abandoned", "published"] if is_long else ["published"])
    assert _verified(database)[0]


def test_a_query_that_was_appended_before_is_not_appended_again_under_another_digest(
    database: str, tmp_path: Path
) -> None:
    write_sales(tmp_path, DAY_OF_SALES, sales(range(30)))
    assert load_one(database, KEYLESS_SPOOLED, tmp_path, DAY_OF_SALES).error is None
    for statement in (
        "update rowledger.load set rowledger_version = '', content_digest = 'former'",
        "update rowledger.load as entry set entry_digest = rowledger.digest_of_entry(entry)",
    ):
        fetch(database, statement)
    error = load_one(database, KEYLESS_SPOOLED, tmp_path, DAY_OF_SALES).error
    assert isinstance(error, DiscrepancyFound)
    assert "appended by load 1 of Rowledger 0.1.0" in str(error)
    assert fetch_value(database, "select count(*) from public.spooled") == 30
    write_sales(tmp_path, DAY_OF_SALES, sales(range(30, 60)))
    assert load_one(database, KEYLESS_SPOOLED, tmp_path, DAY_OF_SALES).error is None
    assert _verified(database, KEYLESS_SPOOLED)[0]


@pytest.mark.parametrize("has_sums", [True, False])
def test_a_csv_file_that_was_appended_when_rows_were_digested_as_parsed_is_not_appended_again(
    database: str, tmp_path: Path, *, has_sums: bool
) -> None:
    write_csv_sales(tmp_path, DAY_OF_SALES, sales(range(30)))
    assert load_one(database, KEYLESS_CSV, tmp_path, DAY_OF_SALES).error is None
    if not has_sums:
        fetch(database, "update rowledger.chunk set fingerprint = null")
    for statement in (
        f"update rowledger.load set content_digest = '{'0123456789abcdef' * 2}'",
        "update rowledger.load set chunks_digest = rowledger.digest_of_chunks(load_id)",
        "update rowledger.load as entry set entry_digest = rowledger.digest_of_entry(entry)",
    ):
        fetch(database, statement)
    error = load_one(database, KEYLESS_CSV, tmp_path, DAY_OF_SALES).error
    assert isinstance(error, DiscrepancyFound)
    told = "with the same sums were appended by load 1," if has_sums else "as many rows were appended by load 1,"
    assert told in str(error)
    assert fetch_value(database, "select count(*) from public.keyless_csv") == 30
    write_csv_sales(tmp_path, DAY_OF_SALES, sales(range(29, 60)))
    assert load_one(database, KEYLESS_CSV, tmp_path, DAY_OF_SALES).error is None
    assert fetch_value(database, "select count(*) from public.keyless_csv") == 61


def test_a_csv_file_is_appended_once_however_it_is_cut_and_packed(database: str, tmp_path: Path) -> None:
    file = write_csv_sales(tmp_path, DAY_OF_SALES, sales(range(30)))
    assert load_one(database, KEYLESS_CSV, tmp_path, DAY_OF_SALES).error is None
    source = KEYLESS_CSV.source.model_copy(update={"path": f"{{landing}}/sales/{DAY_OF_SALES}.csv.gz"})
    packed = KEYLESS_CSV.model_copy(update={"source": source})
    (tmp_path / "sales" / f"{DAY_OF_SALES}.csv.gz").write_bytes(gzip.compress(file.read_bytes()))
    report = load_one(database, packed, tmp_path, DAY_OF_SALES, chunk_rows_max=7)
    assert report.error is None
    assert "already appended by load 1" in " ".join(check.summary for check in report.checks)
    assert fetch_value(database, "select count(*) from public.keyless_csv") == 30


def test_rows_of_a_csv_file_that_is_written_or_read_in_another_way_are_not_appended_again_unseen(
    database: str, tmp_path: Path
) -> None:
    file = write_csv_sales(tmp_path, DAY_OF_SALES, sales(range(30)))
    assert load_one(database, KEYLESS_CSV, tmp_path, DAY_OF_SALES).error is None
    read_otherwise = KEYLESS_CSV.model_copy(
        update={"source": KEYLESS_CSV.source.model_copy(update={"nulls": ("", "NA")})}
    )
    told = [str(load_one(database, read_otherwise, tmp_path, DAY_OF_SALES).error)]
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    told.append(str(load_one(database, KEYLESS_CSV, tmp_path, DAY_OF_SALES).error))
    for error in told:
        assert "the same sums were appended by load 1, from text that was written or read in another way" in error
    assert fetch_value(database, "select count(*) from public.keyless_csv") == 30


def test_without_sums_other_text_counts_as_other_rows(database: str, tmp_path: Path) -> None:
    write_csv_sales(tmp_path, DAY_OF_SALES, sales(range(30)))
    assert load_one(database, KEYLESS_CSV, tmp_path, DAY_OF_SALES, fingerprint=False).error is None
    write_csv_sales(tmp_path, DAY_OF_SALES, sales(range(30, 60)))
    assert load_one(database, KEYLESS_CSV, tmp_path, DAY_OF_SALES, fingerprint=False).error is None
    assert fetch_value(database, "select count(*) from public.keyless_csv") == 60
